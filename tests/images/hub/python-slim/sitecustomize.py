"""Packages live where python's own image has them, for imports and for those who install."""
import site
import sysconfig

SITE = "/usr/local/lib/python3.10/site-packages"
site.addsitedir(SITE)
for scheme in sysconfig._INSTALL_SCHEMES.values():
    scheme.update(purelib=SITE, platlib=SITE)
