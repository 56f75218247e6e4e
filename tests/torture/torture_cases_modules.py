"""The cases of the torture list that concern modules that import each other."""

from __future__ import annotations

from torture_cases import Case

_CHAIN = {
    "a.py": "def get(): return 1\nK = 1\n",
    "b.py": "from a import get, K\n",
    "c.py": "from b import get, K\n",
    "d.py": "import c\nfrom c import K\ndef answer(): return c.get(), K\n",
}

MODULES = [
    Case(
        "from_import",
        {"m.py": "K = 1\ndef f(): return 1\n", "user.py": "from m import f, K\ndef use(): return f(), K\n"},
        {"m.py": "K = 2\ndef f(): return 2\n"},
        {"user.use()": ((1, 1), (2, 2))},
        imports="import user",
    ),
    Case(
        "import_attr",
        {"m.py": "def f(): return 1\n", "user.py": "import m\ndef use(): return m.f()\n"},
        {"m.py": "def f(): return 2\n"},
        {"user.use()": (1, 2)},
        imports="import user",
    ),
    Case(
        "from_import_class_subclassed",
        {
            "m.py": "class B:\n    def f(self): return 1\n",
            "user.py": "from m import B\nclass C(B): pass\ndef use(): return C().f()\n",
        },
        {"m.py": "class B:\n    def f(self): return 2\n"},
        {"user.use()": (1, 2), "held['c'].f()": (1, 2)},
        hold={"c": "user.C()"},
        imports="import user",
    ),
    Case(
        "chain3", _CHAIN, {"a.py": "def get(): return 2\nK = 2\n"}, {"d.answer()": ((1, 1), (2, 2))}, imports="import d"
    ),
    Case(
        "circular_first",
        {
            "a.py": "import b\nX = 1\ndef f(): return b.g()\n",
            "b.py": "import a\nY = 1\ndef g(): return a.X, Y\n",
        },
        {"a.py": "import b\nX = 2\ndef f(): return b.g()\n"},
        {"a.f()": ((1, 1), (2, 1))},
        imports="import a",
    ),
    Case(
        "circular_second",
        {
            "a.py": "import b\nX = 1\ndef f(): return b.g()\n",
            "b.py": "import a\nY = 1\ndef g(): return a.X, Y\n",
        },
        {"b.py": "import a\nY = 2\ndef g(): return a.X, Y\n"},
        {"a.f()": ((1, 1), (1, 2))},
        imports="import a",
    ),
    Case(
        "pkg_reexport",
        {
            "pkg/__init__.py": "from .core import run, K\n",
            "pkg/core.py": "K = 1\ndef run(): return 1\n",
        },
        {"pkg/core.py": "K = 2\ndef run(): return 2\n"},
        {"pkg.run()": (1, 2), "pkg.K": (1, 2), "pkg.core.K": (1, 2)},
        imports="import pkg",
    ),
    Case(
        "relative_import",
        {
            "pkg/__init__.py": "",
            "pkg/util.py": "def k(): return 1\n",
            "pkg/main.py": "from .util import k\ndef go(): return k()\n",
        },
        {"pkg/util.py": "def k(): return 2\n"},
        {
            "pkg.main.go()": (1, 2),
            "__import__('sys').modules['pkg.main'] is pkg.main": (True, True),
        },
        imports="import pkg.main",
    ),
    Case(
        "relative_import_both",
        {
            "pkg/__init__.py": "",
            "pkg/util.py": "def k(): return 1\n",
            "pkg/main.py": "from .util import k\ndef go(): return k()\n",
        },
        {"pkg/util.py": "def k(): return 2\n", "pkg/main.py": "from . import util\ndef go(): return util.k() * 10\n"},
        {"pkg.main.go()": (1, 20)},
        imports="import pkg.main",
    ),
    Case(
        "lazy_import_in_function",
        {"m.py": "def f(): return 1\n", "user.py": "def use():\n    import m\n    return m.f()\n"},
        {"m.py": "def f(): return 2\n"},
        {"user.use()": (1, 2)},
        imports="import user",
    ),
    Case(
        "new_file",
        {"m.py": "def f(): return 1\n"},
        {"m.py": "from helper import g\ndef f(): return g()\n", "helper.py": "def g(): return 2\n"},
        {"m.f()": (1, 2)},
    ),
]
