SELECT content
FROM images
WHERE sha256 = %(sha256)s AND media_type = %(media_type)s
