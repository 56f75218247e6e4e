"""The cases of the torture list that concern classes and what is held of their instances."""

from __future__ import annotations

from torture_cases import edit

CLASSES = [
    edit(
        "method_deleted",
        "class C:\n    def f(self): return 1\n    def g(self): return 1\n",
        "class C:\n    def f(self): return 2\n",
        {
            "m.C().f()": (1, 2),
            "hasattr(m.C(), 'g')": (True, False),
            "held['c'].f()": (1, 2),
            "hasattr(held['c'], 'g')": (True, False),
        },
        hold={"c": "m.C()"},
    ),
    edit(
        "class_renamed",
        "class A:\n    def hi(self): return 'a'\n",
        "class B:\n    def hi(self): return 'b'\n",
        {"hasattr(m, 'A')": (True, False), "hasattr(m, 'B')": (False, True), "held['a'].hi()": ("a", "a")},
        hold={"a": "m.A()"},
        pinned=True,
        note="state kept (1 key; key 'a' still runs v1 code: class A is gone)",
    ),
    edit(
        "new_base_class",
        "class Base:\n    def who(self): return 'base'\nclass C:\n    def who(self): return 'c'\n",
        """
        class Base:
            def who(self): return 'base'
            def extra(self): return 'extra'
        class C(Base):
            pass
        """,
        {
            "m.C().who()": ("c", "base"),
            "held['c'].who()": ("c", "base"),
            "held['c'].extra() if hasattr(held['c'], 'extra') else None": (None, "extra"),
            "isinstance(held['c'], m.C)": (True, True),
        },
        hold={"c": "m.C()"},
    ),
    edit(
        "method_body",
        "class C:\n    def f(self): return 1\n",
        "class C:\n    def f(self): return 2\n",
        {"m.C().f()": (1, 2), "held['c'].f()": (1, 2), "held['bound']()": (1, 2)},
        hold={"c": "m.C()", "bound": "held['c'].f"},
    ),
    edit(
        "method_added",
        "class C:\n    pass\n",
        "class C:\n    def g(self): return 2\n",
        {
            "m.C().g() if hasattr(m.C, 'g') else None": (None, 2),
            "held['c'].g() if hasattr(held['c'], 'g') else None": (None, 2),
        },
        hold={"c": "m.C()"},
    ),
    edit(
        "super_call",
        "class A:\n    def f(self): return 1\nclass C(A):\n    def f(self): return super().f() + 1\n",
        "class A:\n    def f(self): return 10\nclass C(A):\n    def f(self): return super().f() + 2\n",
        {"m.C().f()": (2, 12), "held['c'].f()": (2, 12)},
        hold={"c": "m.C()"},
    ),
    edit(
        "init_changed_slots",
        """
        class C:
            __slots__ = ('a',)
            def __init__(self): self.a = 1
            def f(self): return self.a
        """,
        """
        class C:
            __slots__ = ('a', 'b')
            def __init__(self):
                self.a = 1
                self.b = 10
            def f(self): return self.a + self.b
        """,
        {"m.C().f()": (1, 11), "held['c'].f()": (1, 11), "isinstance(held['c'], m.C)": (True, True)},
        hold={"c": "m.C()"},
    ),
    edit(
        "unrelated_edit_identity",
        """
        class C:
            def __init__(self): self.n = 1
        class E(Exception): pass
        def f(): return 1
        def caught(error):
            try: raise error
            except E: return True
            except Exception: return False
        """,
        """
        class C:
            def __init__(self): self.n = 1
        class E(Exception): pass
        def f(): return 2
        def caught(error):
            try: raise error
            except E: return True
            except Exception: return False
        """,
        {
            "m.f()": (1, 2),
            "isinstance(held['c'], m.C)": (True, True),
            "held['class'] is m.C": (True, True),
            "__import__('pickle').loads(__import__('pickle').dumps(held['c'])).n": (1, 1),
            "m.caught(held['e'])": (True, True),
        },
        hold={"c": "m.C()", "class": "m.C", "e": "m.E()"},
    ),
    edit(
        "dataclass_fields",
        """
        from dataclasses import dataclass
        @dataclass
        class P:
            x: int
            def total(self): return self.x
        """,
        """
        from dataclasses import dataclass, field
        @dataclass
        class P:
            x: int
            y: int = 1
            tags: list = field(default_factory=list)
            def total(self): return self.x + self.y
        """,
        {
            "m.P(5).total()": (5, 6),
            "held['p'].total()": (5, 6),
            "__import__('dataclasses').asdict(held['p'])": ({"x": 5}, {"x": 5, "y": 1, "tags": []}),
            "isinstance(held['p'], m.P)": (True, True),
            "held['p'] == m.P(5)": (True, True),
        },
        hold={"p": "m.P(5)"},
    ),
    edit(
        "frozen_dataclass",
        """
        from dataclasses import dataclass
        @dataclass(frozen=True)
        class P:
            x: int = 1
            def f(self): return self.x
        """,
        """
        from dataclasses import dataclass
        @dataclass(frozen=True)
        class P:
            x: int = 1
            def f(self): return self.x + 1
        """,
        {"m.P().f()": (1, 2), "held['p'].f()": (1, 2), "held['p'] == m.P()": (True, True)},
        hold={"p": "m.P()"},
    ),
    edit(
        "pydantic_fields",
        """
        from pydantic import BaseModel
        class P(BaseModel):
            x: int = 0
            def total(self): return self.x
        """,
        """
        from pydantic import BaseModel
        class P(BaseModel):
            x: int = 0
            y: int = 1
            def total(self): return self.x + self.y
        """,
        {
            "m.P(x=5).total()": (5, 6),
            "m.P.model_validate({'x': '7'}).x": (7, 7),
            "held['p'].model_dump()": ({"x": 5}, {"x": 5, "y": 1}),
            "held['p'].total()": (5, 6),
            "held['p'] == m.P(x=5)": (True, True),
        },
        hold={"p": "m.P(x=5)"},
    ),
    edit(
        "held_bound_method_dispatcher",
        """
        class Counter:
            def __init__(self): self.n = 0
            def add(self):
                self.n += 1
                return self.n
        """,
        """
        class Counter:
            def __init__(self): self.n = 0
            def add(self):
                self.n += 100
                return self.n
        """,
        {"[each() for each in held['listeners']]": ([1], [101])},
        hold={"listeners": "[m.Counter().add]"},
    ),
]
