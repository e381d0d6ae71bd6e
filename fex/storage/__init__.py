"""Storage: files that appear whole or not at all, and are read without running their code.

Plain data and tensors go in and out; shipped configs and weights are found by name and checked by their digest.
Read `atomic`, `weights`, `checkpoint`, `resources`. Nothing is shown here, so that a command's help needs no torch.
"""
