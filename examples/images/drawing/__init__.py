"""
Draws one image through the provider's SDK, and looks whether it is one.
"""
