-- The server's disks: files of a remote or an encrypted one do not show what it has.
SELECT name, path, toString(type) AS kind, is_remote = 1 AS remote, is_encrypted = 1 AS encrypted
FROM system.disks
ORDER BY name
