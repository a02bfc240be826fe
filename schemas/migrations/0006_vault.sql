-- Raw data, sealed: what it holds of a person is ciphertext, and stands under a tag that names nobody. See internal/vault.
-- Days are UTC days of the event, partitions are days: purge drops them whole.
-- Key rows are in before the capsules that they open. A key row that is in twice, or that no capsule needs, does no harm.

CREATE TABLE IF NOT EXISTS web_keys
(
    day        Date                   COMMENT 'UTC day of the events that the key sealed',
    tenant     LowCardinality(String) COMMENT 'the municipality',
    population LowCardinality(String) COMMENT 'staff, elected, pupil or unknown: who must approve',
    unit       LowCardinality(String) COMMENT 'organisational unit',
    tag        FixedString(16)        COMMENT 'lookup tag of the person on this day: a pseudonym',
    key        FixedString(16)        COMMENT 'id of the data key, drawn at random',
    manager    String                 COMMENT 'share of the data key, sealed to the manager' CODEC(NONE),
    hr         String                 COMMENT 'share of the data key, sealed to HR' CODEC(NONE),
    security   String                 COMMENT 'share of the data key, sealed to the chief of information security' CODEC(NONE),
    gate       String                 COMMENT 'share of the data key and the subject, sealed to the gate' CODEC(NONE)
)
ENGINE = ReplacingMergeTree
PARTITION BY day
ORDER BY (tenant, tag, key)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 512
COMMENT 'Data keys of web capsules, in four shares that only their roles can open';

CREATE TABLE IF NOT EXISTS mail_keys
(
    day        Date                   COMMENT 'UTC day of the events that the key sealed',
    tenant     LowCardinality(String) COMMENT 'the municipality',
    population LowCardinality(String) COMMENT 'staff, elected, pupil or unknown: who must approve',
    unit       LowCardinality(String) COMMENT 'organisational unit',
    tag        FixedString(16)        COMMENT 'lookup tag of the person on this day: a pseudonym',
    key        FixedString(16)        COMMENT 'id of the data key, drawn at random',
    manager    String                 COMMENT 'share of the data key, sealed to the manager' CODEC(NONE),
    hr         String                 COMMENT 'share of the data key, sealed to HR' CODEC(NONE),
    security   String                 COMMENT 'share of the data key, sealed to the chief of information security' CODEC(NONE),
    gate       String                 COMMENT 'share of the data key and the subject, sealed to the gate' CODEC(NONE)
)
ENGINE = ReplacingMergeTree
PARTITION BY day
ORDER BY (tenant, tag, key)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 512
COMMENT 'Data keys of mail capsules, in four shares that only their roles can open';

CREATE TABLE IF NOT EXISTS web_capsules
(
    day      Date                   COMMENT 'UTC day of the events',
    mark     UInt64                 COMMENT '0: a capsule; otherwise the source partition whose watermark this row is',
    tenant   LowCardinality(String) COMMENT 'the municipality',
    unit     LowCardinality(String) COMMENT 'organisational unit',
    tag      FixedString(16)        COMMENT 'lookup tag of the person on this day: a pseudonym',
    key      FixedString(16)        COMMENT 'the data key that it is sealed under: see web_keys',
    first    DateTime('UTC')        COMMENT 'time of the first event',
    last     DateTime('UTC')        COMMENT 'time of the last event',
    count    UInt32                 COMMENT 'events',
    capsule  String                 COMMENT 'the events of one person in one batch: nonce, ciphertext and tag of AES-256-GCM' CODEC(NONE),
    next     UInt64                 COMMENT 'watermark rows: the first offset that is not in',
    begun_at DateTime('UTC')        COMMENT 'watermark rows: when the batch was begun'
)
ENGINE = MergeTree
PARTITION BY day
ORDER BY (mark, tenant, tag, first)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 512
COMMENT 'Web events, sealed';

CREATE TABLE IF NOT EXISTS mail_capsules
(
    day      Date                   COMMENT 'UTC day of the events',
    mark     UInt64                 COMMENT '0: a capsule; otherwise the source partition whose watermark this row is',
    tenant   LowCardinality(String) COMMENT 'the municipality',
    unit     LowCardinality(String) COMMENT 'organisational unit',
    tag      FixedString(16)        COMMENT 'lookup tag of the person on this day: a pseudonym',
    key      FixedString(16)        COMMENT 'the data key that it is sealed under: see mail_keys',
    first    DateTime('UTC')        COMMENT 'time of the first event',
    last     DateTime('UTC')        COMMENT 'time of the last event',
    count    UInt32                 COMMENT 'events',
    capsule  String                 COMMENT 'the events of one person in one batch: nonce, ciphertext and tag of AES-256-GCM' CODEC(NONE),
    next     UInt64                 COMMENT 'watermark rows: the first offset that is not in',
    begun_at DateTime('UTC')        COMMENT 'watermark rows: when the batch was begun'
)
ENGINE = MergeTree
PARTITION BY day
ORDER BY (mark, tenant, tag, first)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 512
COMMENT 'Mail events, sealed';

-- What a decision or a request for public records holds back from purge: copies, as sealed as the originals, by hold. The
-- partition goes when the hold ends. A row that is copied twice is one row.

CREATE TABLE IF NOT EXISTS held_keys
(
    hold       String                 COMMENT 'the hold that keeps the row',
    kind       LowCardinality(String) COMMENT 'web or mail',
    day        Date                   COMMENT 'UTC day of the events that the key sealed',
    tenant     LowCardinality(String) COMMENT 'the municipality',
    population LowCardinality(String) COMMENT 'staff, elected, pupil or unknown: who must approve',
    unit       LowCardinality(String) COMMENT 'organisational unit',
    tag        FixedString(16)        COMMENT 'lookup tag of the person on this day: a pseudonym',
    key        FixedString(16)        COMMENT 'id of the data key, drawn at random',
    manager    String                 COMMENT 'share of the data key, sealed to the manager' CODEC(NONE),
    hr         String                 COMMENT 'share of the data key, sealed to HR' CODEC(NONE),
    security   String                 COMMENT 'share of the data key, sealed to the chief of information security' CODEC(NONE),
    gate       String                 COMMENT 'share of the data key and the subject, sealed to the gate' CODEC(NONE)
)
ENGINE = ReplacingMergeTree
PARTITION BY (hold, day)
ORDER BY (kind, tenant, tag, key)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 512
COMMENT 'Data keys that are held back from purge';

CREATE TABLE IF NOT EXISTS held_capsules
(
    hold    String                 COMMENT 'the hold that keeps the row',
    kind    LowCardinality(String) COMMENT 'web or mail',
    day     Date                   COMMENT 'UTC day of the events',
    tenant  LowCardinality(String) COMMENT 'the municipality',
    unit    LowCardinality(String) COMMENT 'organisational unit',
    tag     FixedString(16)        COMMENT 'lookup tag of the person on this day: a pseudonym',
    key     FixedString(16)        COMMENT 'the data key that it is sealed under: see held_keys',
    first   DateTime('UTC')        COMMENT 'time of the first event',
    last    DateTime('UTC')        COMMENT 'time of the last event',
    count   UInt32                 COMMENT 'events',
    capsule String                 COMMENT 'the events of one person in one batch: nonce, ciphertext and tag of AES-256-GCM' CODEC(NONE)
)
ENGINE = ReplacingMergeTree
PARTITION BY (hold, day)
ORDER BY (kind, tenant, tag, first, key, left(capsule, 12))
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 512
COMMENT 'Capsules that are held back from purge';
