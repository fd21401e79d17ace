from django.shortcuts import render


def greeting(request, name):
    return render(request, "greeting.html", {"name": name})
