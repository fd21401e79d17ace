from django.conf import settings
from django.urls import path, re_path
from django.views.static import serve

from pages.views import greeting

urlpatterns = [
    path("hello/<str:name>", greeting),
    re_path(r"^static/(?P<path>.*)$", serve, {"document_root": settings.STATIC_ROOT}),
]
