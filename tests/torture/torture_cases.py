"""The torture list as data: what the files were, what they become, what is held, what is asked before and after.

Here are the cases that concern functions and constants; `torture_cases_classes` and `torture_cases_modules` have more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torture_world import Files


@dataclass(frozen=True)
class Case:
    """One edit. `asks` maps an expression to its answers before and after; `hold` what the state keeps meanwhile.

    `pinned` says that the state keeps an old generation alive, and `note` is what the outcome then says of it.
    """

    name: str
    before: Files
    after: Files
    asks: dict[str, tuple[Any, Any]]
    hold: dict[str, str] = field(default_factory=dict)
    imports: str = "import m"
    pinned: bool = False
    note: str = ""


def edit(name: str, before: str | bytes, after: str | bytes, asks: dict[str, tuple[Any, Any]], **more: Any) -> Case:
    """A case with one module, `m`."""
    return Case(name, {"m.py": before}, {"m.py": after}, asks, **more)


CODE = [
    edit(
        "name_deleted",
        "X = 1\ndef f(): return 1\ndef g(): return 1\n",
        "def f(): return 2\n",
        {"m.f()": (1, 2), "hasattr(m, 'g')": (True, False), "hasattr(m, 'X')": (True, False)},
    ),
    edit(
        "default_args",
        "def f(a=1): return a\n",
        "def f(a=2): return a\n",
        {"m.f()": (1, 2), "held['f']()": (1, 2)},
        hold={"f": "m.f"},
    ),
    edit(
        "signature_changed",
        "def f(a): return a\n",
        "def f(a, b=10): return a + b\n",
        {
            "m.f(1)": (1, 11),
            "held['f'](1)": (1, 11),
            "str(__import__('inspect').signature(m.f))": ("(a)", "(a, b=10)"),
        },
        hold={"f": "m.f"},
    ),
    edit(
        "closure_body",
        """
        def make(n):
            def inner(): return n + 1
            return inner
        """,
        """
        def make(n):
            def inner(): return n + 2
            return inner
        """,
        {"m.make(5)()": (6, 7), "held['inner']()": (6, 7)},
        hold={"inner": "m.make(5)"},
    ),
    edit(
        "closure_freevars",
        """
        def make(n):
            def inner(): return n + 1
            return inner
        """,
        """
        def make(n):
            k = 100
            def inner(): return n + k
            return inner
        """,
        {"m.make(5)()": (6, 105), "held['inner']()": (6, 6)},
        hold={"inner": "m.make(5)"},
        pinned=True,
        note="key 'inner' still runs v1 code: make.<locals>.inner",
    ),
    edit(
        "decorator_changed",
        """
        def deco(f): return lambda: f() + 1
        @deco
        def f(): return 1
        """,
        """
        def deco(f): return lambda: f() + 10
        @deco
        def f(): return 1
        """,
        {"m.f()": (2, 11)},
    ),
    edit(
        "decorated_body",
        """
        import functools
        def deco(f):
            @functools.wraps(f)
            def wrapper(): return f() + 1
            return wrapper
        @deco
        def f(): return 1
        """,
        """
        import functools
        def deco(f):
            @functools.wraps(f)
            def wrapper(): return f() + 1
            return wrapper
        @deco
        def f(): return 10
        """,
        {"m.f()": (2, 11), "held['f']()": (2, 11)},
        hold={"f": "m.f"},
    ),
    edit(
        "decorator_added",
        "def twice(f): return lambda: f() * 2\ndef f(): return 1\n",
        "def twice(f): return lambda: f() * 2\n@twice\ndef f(): return 1\n",
        {"m.f()": (1, 2)},
    ),
    edit(
        "decorator_arg_changed",
        """
        def plus(n): return lambda f: lambda: f() + n
        @plus(1)
        def f(): return 1
        """,
        """
        def plus(n): return lambda f: lambda: f() + n
        @plus(5)
        def f(): return 1
        """,
        {"m.f()": (2, 6)},
    ),
    edit(
        "lru_cache_body",
        "import functools\n@functools.lru_cache\ndef f(): return 1\n",
        "import functools\n@functools.lru_cache\ndef f(): return 2\n",
        {"m.f()": (1, 2), "held['f']()": (1, 2)},
        hold={"f": "m.f"},
    ),
    edit(
        "def_inside_if_try",
        """
        if True:
            def f(): return 1
        try:
            import no_such_module_anywhere
        except ImportError:
            def g(): return 1
        """,
        """
        if True:
            def f(): return 2
        try:
            import no_such_module_anywhere
        except ImportError:
            def g(): return 2
        """,
        {"m.f()": (1, 2), "m.g()": (1, 2)},
    ),
    edit(
        "lambda_and_table",
        "f = lambda: 1\ndef g(): return 1\nTABLE = {'g': g}\n",
        "f = lambda: 2\ndef g(): return 2\nTABLE = {'g': g}\n",
        {"m.f()": (1, 2), "m.TABLE['g']()": (1, 2)},
    ),
    edit(
        "bom_crlf",
        b"\xef\xbb\xbfdef f():\r\n    return '\xc3\xa9'\r\n",
        b"\xef\xbb\xbfdef f():\r\n    return '\xc3\xbc'\r\n",
        {"m.f()": ("é", "ü")},
    ),
    edit(
        "future_annotations",
        "from __future__ import annotations\ndef f(a: Missing = 1): return a, f.__annotations__['a']\n",
        "from __future__ import annotations\ndef f(a: Gone = 2): return a, f.__annotations__['a']\n",
        {"m.f()": ((1, "Missing"), (2, "Gone"))},
    ),
    edit(
        "c_extension_dep",
        "import orjson, _struct\ndef f(): return orjson.dumps([1]).decode(), _struct.calcsize('i')\n",
        "import orjson, _struct\ndef f(): return orjson.dumps([2]).decode(), _struct.calcsize('i')\n",
        {"m.f()": (("[1]", 4), ("[2]", 4))},
    ),
    Case(
        "data_file_dep",
        {
            "m.py": "import json, pathlib\nT = json.loads(pathlib.Path(__file__).with_name('t.json').read_text())\n"
            "def f(): return T['n']\n",
            "t.json": '{"n": 1}',
        },
        {"t.json": '{"n": 2}'},
        {"m.f()": (1, 2)},
    ),
]
