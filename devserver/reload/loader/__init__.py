"""Owns `sys.modules` and importlib: finds, compiles, executes and forgets the modules of mods. Decides nothing.

- `roots`   which files on disk may be reloaded at all
- `shelf`   the watched modules as they are loaded, and what each was made from
- `finder`  imports them from the bytes that were hashed
- `scope`   lets code that was replaced go on importing what it was loaded with
- `build`   one attempt to execute a set of modules anew, with its undo
- `locate`  finds the module of a mod without importing anything
"""

from devserver.reload.loader.build import Build
from devserver.reload.loader.locate import Located, find_mod_class, imported, locate
from devserver.reload.loader.reads import DataReads
from devserver.reload.loader.roots import Roots
from devserver.reload.loader.shelf import Shelf

__all__ = ["Build", "DataReads", "Located", "Roots", "Shelf", "find_mod_class", "imported", "locate"]
