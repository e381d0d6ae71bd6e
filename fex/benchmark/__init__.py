"""Methods x protocols on one black box: who explains better, at what price.

`runner` takes methods through the data, batch by batch (`setting`, `method_run`); `store` keeps what is finished,
`evaluation` and `significance` make rows of it, `report` draws them. Read them in this order; `build` and
`fingerprint` say which method a config means, and `speed` measures fex itself.
"""
