"""The harness of the functional tests, for the comparison with the peer. Each case is built once, the
way most people do it: without root where the machine has an account for that."""

import importlib.util
import os
import sys

FUNCTIONAL = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "functional")
spec = importlib.util.spec_from_file_location("functional_harness",
                                              os.path.join(FUNCTIONAL, "conftest.py"))
harness = sys.modules["functional_harness"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)

# pytest takes fixtures and hooks from the names of this module
globals().update({name: value for name, value in vars(harness).items()
                  if not name.startswith("__")})


def pytest_generate_tests(metafunc):
    if "who" in metafunc.fixturenames:
        metafunc.parametrize("who", ["rootless" if harness.IS_ROOT else "self"], scope="session")
