-- What has been read, and what could not be.

CREATE TABLE IF NOT EXISTS sources
(
    mark       UInt64                 COMMENT 'number of the source partition: the first 8 bytes of SHA-256 over the next four columns; the topic id is not in it',
    cluster    LowCardinality(String) COMMENT 'the operator''s name for the Kafka cluster; file for an imported file',
    topic      String                 COMMENT 'Kafka topic; for a file, the SHA-256 of its head',
    epoch      String                 COMMENT 'Kafka topic id or operator-set number; for a file, the length of that head in bytes',
    partition  Int32                  COMMENT 'Kafka partition; 0 for a file',
    topic_id   String                 COMMENT 'Kafka topic id, also where the epoch is an operator''s number; empty where there is none',
    first_seen DateTime('UTC')        COMMENT 'when it was first read'
)
ENGINE = ReplacingMergeTree
ORDER BY mark
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'The source partitions that marks stand for';

CREATE TABLE IF NOT EXISTS ledger
(
    mark    UInt64          COMMENT 'the source partition',
    first   UInt64          COMMENT 'first offset of the batch (a file: byte offset)',
    next    UInt64          COMMENT 'the offset after the batch',
    records UInt64          COMMENT 'records in it; for Kafka, next - first = records + gaps',
    gaps    UInt64          COMMENT 'offsets that hold no record: control, aborted, compacted or accepted as lost',
    events  UInt64          COMMENT 'events read from the records and counted in the statistics',
    rejects UInt64          COMMENT 'lines that could not be read or were out of time: see the table rejects',
    skipped UInt64          COMMENT 'records that hold no line at all: blank, or only headers and comments',
    begun_at DateTime('UTC') COMMENT 'when the batch was begun'
)
ENGINE = ReplacingMergeTree(next)
ORDER BY (mark, first)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Batches that are wholly in: written after everything else of the batch';

CREATE TABLE IF NOT EXISTS rejects
(
    day    Date                                      COMMENT 'UTC day on which the batch was begun',
    mark   UInt64                                    COMMENT '0: a count; otherwise the source partition whose watermark this row is',
    tenant LowCardinality(String)                    COMMENT 'tenant of the source',
    topic  LowCardinality(String)                    COMMENT 'Kafka topic, or file',
    format LowCardinality(String)                    COMMENT 'the format that the source is configured to have',
    reason LowCardinality(String)                    COMMENT 'why: one of a closed set of words',
    field  LowCardinality(String)                    COMMENT 'the offending field; empty: the whole line',
    shape  String                                    COMMENT 'what such a line looks like: runs of letters as a, of digits as 9, cut at 120 characters',
    lines  SimpleAggregateFunction(sum, UInt64)      COMMENT 'lines',
    next   SimpleAggregateFunction(max, UInt64)      COMMENT 'watermark rows: the first offset that is not in',
    begun_at SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'watermark rows: when the batch was begun'
)
ENGINE = AggregatingMergeTree
PARTITION BY day
ORDER BY (mark, tenant, topic, format, reason, field, shape)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Lines that were not read, by reason, without what they said';

CREATE TABLE IF NOT EXISTS gaps
(
    mark        UInt64          COMMENT 'the source partition',
    first       UInt64          COMMENT 'first lost offset',
    next        UInt64          COMMENT 'the offset after the lost ones',
    found_at    DateTime('UTC') COMMENT 'when ingest found them gone',
    accepted_at DateTime('UTC') COMMENT 'when an operator accepted the loss; 1970 while it stands',
    reason      String          COMMENT 'the operator''s reason'
)
ENGINE = ReplacingMergeTree(accepted_at)
ORDER BY (mark, first)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Offsets that Kafka removed before they were read: their partition stands still until someone accepts the loss';

CREATE TABLE IF NOT EXISTS statistics_keys
(
    month      Date            COMMENT 'first day of the month',
    check      String          COMMENT 'check value of the key of that month: it says which key, not what it is',
    first_seen DateTime('UTC') COMMENT 'when an ingester began to count with it'
)
ENGINE = ReplacingMergeTree
ORDER BY (month, check)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'The statistics keys that people have been counted with: one a month, or the same people would count twice';
