"""The programs: `fex-train`, `fex-explain`, `fex-bench`, `fex-export`, `fex-serve`, `fex-demo`, `fex-quickstart`.

`entry` answers what needs no torch (help, versions, `init_flags`, mistyped names: `quick_check`), then each program
has a room: `train`, `explain`, `bench`, or a file. What they share: `program` (parsers of words), `config` (YAML files,
exit codes), `ending`, `plain_errors`, `progress`. Read `entry`, then the `__init__` of a room.
"""
