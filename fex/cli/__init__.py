"""The programs: `fex-train`, `fex-explain`, `fex-bench`, `fex-quickstart`.

`entry` answers what needs no torch (help, versions, mistyped names: `quick_check`), then each program has a room:
`train`, `explain`, `bench`. What they share: `config` (YAML files, exit codes), `plain_errors`, `progress`.
"""
