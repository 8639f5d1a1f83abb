"""Training data: clips from manifests and folders, decoded once and mixed on the fly.

A data set is anything with `source[i]` -> (clean, mixture), both float32 [T] or [C, T] and of the same shape for every
i. It is endless and a function of (seed, i) alone, so that a run can resume at any index. Some data sets can also make
whole batches where they are used, see `batched`.
"""
