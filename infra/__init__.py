"""The deployment, in CDK.

Where pyright's `reportArgumentType` is ignored, a class of the CDK does not match its own protocol:
jsii gives their parameters different names. Everything else is checked strictly.
"""
