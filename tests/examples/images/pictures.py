"""
One small picture of each format, as real encoders write them: 4 by 3 pixels, and a PNG of 256 by 256.
"""

import base64

from hungframe.testing.provider.picture import picture

PNG = picture("a cat")
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDACgcHiMeGSgjISMtKygwPGRBPDc3PHtYXUlkkYCZlo+AjIqgtObDoKrarYqMyP/L2u71////m8H///"
    "/6/+b9//j/wAALCAADAAQBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAABP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AO//Z"
)
WEBP = base64.b64decode("UklGRjgAAABXRUJQVlA4ICwAAACQAQCdASoEAAMAAUAmJaACdLoAA5gA/vD6K67xaUa/+8Z//cZ//cZ/7uAAAA==")
LOSSLESS_WEBP = base64.b64decode("UklGRh4AAABXRUJQVlA4TBEAAAAvA4AAAAdQjyKXp/+BiOh/AAA=")

BY_TYPE = [("image/png", PNG), ("image/jpeg", JPEG), ("image/webp", WEBP), ("image/webp", LOSSLESS_WEBP)]
