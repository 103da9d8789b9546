"""Fused layers: `reference` is the truth, the Triton kernels are held to it, `operators` are what networks call.

Nothing here is imported before it is used: Triton is optional, and a machine without a GPU needs none of it.
"""
