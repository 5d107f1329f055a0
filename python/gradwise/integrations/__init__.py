"""Watching what a framework trains. Each module imports its framework when its callback is asked for, not before.

    from gradwise.integrations.lightning import GradwiseCallback
    from gradwise.integrations.transformers import GradwiseCallback
    from gradwise.integrations.accelerate import watch
"""
