-- What each hold keeps. The tags are pseudonyms, so they stand here and not in the public record, which has a digest of them.

CREATE TABLE IF NOT EXISTS holds
(
    hold   String                 COMMENT 'the hold: the first 16 bytes of the digest that the record has, in hexadecimal',
    salt   FixedString(32)        COMMENT 'random bytes that are in the digest',
    tenant LowCardinality(String) COMMENT 'the municipality',
    kind   LowCardinality(String) COMMENT 'web or mail',
    day    Date                   COMMENT 'UTC day of the events',
    unit   LowCardinality(String) COMMENT 'everyone of this organisational unit; empty: see tag',
    tag    FixedString(16)        COMMENT 'lookup tag of one person on this day; all zero, and no unit: everyone of the tenant',
    begun  DateTime('UTC')        COMMENT 'when the hold was being placed'
)
ENGINE = ReplacingMergeTree
PARTITION BY hold
ORDER BY (kind, day, tenant, unit, tag)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 512
COMMENT 'Whose sealed rows are held back from purge; a partition goes when its hold has ended and its copies are gone';
