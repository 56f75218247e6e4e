"""Owns `sys.modules` and importlib: finds, compiles, executes and forgets the modules of mods.

Decides nothing.

- `modules` sets of watched modules, and what each module was made from; `sys.modules` shows the current set
- `finder`  imports them from the bytes that were hashed
- `scope`   lets replaced code go on importing the modules that it was loaded with
- `build`   one attempt to execute a set of modules again, with its undo
- `keeping` the module-level state that stays, all of it where an edit has only moved code
- `moving`  moves references in a state from replaced code to the new: `walk`, `successor` by name, `fitting` instances
- `raw`     reads and changes objects without running code of theirs
- `changes` of the process by code, taken back before its successor runs; in `places`, `libraries`, `contents`
- `made`    objects that code has made in others, out of date when its lines change
- `started` the threads, processes and sockets that code starts
- `census`  whether replaced code is gone, and its holders
- `reads`   which data files code reads and writes, and what it starts
- `installed` code that is not a mod's and has changed on disk
- `environment` the folder of packages that the lock names
- `distributions` versions of installed packages, and the server's own
- `locate`  finds the module of a mod without importing anything; `locate_line` that of a version installed apart
"""
