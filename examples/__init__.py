"""
Programs that use hungframe as its users do.
"""
