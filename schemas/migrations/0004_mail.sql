-- Statistics of mail use. What counts is the message, however many rows and servers tell of it: each cell keeps the tokens of
-- its messages with their sizes, so that a message that is told of again, in any batch, is still one.
-- direction = '' means all directions; unit = '' and category = '' as in web_hourly.

CREATE TABLE IF NOT EXISTS mail_hourly
(
    day              Date                                      COMMENT 'local day of the tenant',
    mark             UInt64                                    COMMENT '0: a statistic; otherwise the source partition whose watermark this row is',
    hour             DateTime('UTC')                           COMMENT 'start of the UTC hour',
    tenant           LowCardinality(String)                    COMMENT 'the municipality',
    population       LowCardinality(String)                    COMMENT 'staff, elected, pupil, guest or unknown',
    unit             LowCardinality(String)                    COMMENT 'organisational unit; empty: all units',
    direction        LowCardinality(String)                    COMMENT 'inbound, outbound or internal; empty: all directions',
    category         LowCardinality(String)                    COMMENT 'category of the other side''s domain, internal for our own; empty: all categories',
    people           AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', people_tokens)
                                                               COMMENT 'distinct people of ours who sent or received, as tokens of this cell and month',
    messages         SimpleAggregateFunction(maxMap, Tuple(Array(UInt64), Array(UInt64))) DEFAULT (message_tokens, message_bytes)
                                                               COMMENT 'distinct messages, as tokens of this cell and month, and the bytes of each',
    forwarded        AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', forwarded_tokens)
                                                               COMMENT 'messages that a rule, not a person, passed on to the outside',
    identity_numbers AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', identity_number_tokens)
                                                               COMMENT 'messages with a personal identity number in the subject line',
    sensitive        AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', sensitive_tokens)
                                                               COMMENT 'messages with an identity number or another sensitive pattern in the subject line',
    next             SimpleAggregateFunction(max, UInt64)      COMMENT 'watermark rows: the first offset that is not in',
    begun_at         SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'watermark rows: when the batch was begun',
    people_tokens          Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to people',
    message_tokens         Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to messages',
    message_bytes          Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to messages',
    forwarded_tokens       Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to forwarded',
    identity_number_tokens Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to identity_numbers',
    sensitive_tokens       Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to sensitive'
)
ENGINE = AggregatingMergeTree
PARTITION BY day
ORDER BY (mark, tenant, population, unit, direction, category, hour)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Mail by hour, unit, direction and category of the other side';

CREATE TABLE IF NOT EXISTS mail_domains_daily
(
    day              Date                                      COMMENT 'local day of the tenant',
    mark             UInt64                                    COMMENT '0: a statistic; otherwise the source partition whose watermark this row is',
    tenant           LowCardinality(String)                    COMMENT 'the municipality',
    population       LowCardinality(String)                    COMMENT 'staff, elected, pupil, guest or unknown',
    unit             LowCardinality(String)                    COMMENT 'organisational unit; empty: all units',
    direction        LowCardinality(String)                    COMMENT 'inbound, outbound or internal; empty: all directions',
    domain           String                                    COMMENT 'registrable domain of the other side; protected ones together as (protected)',
    category         LowCardinality(String)                    COMMENT 'category of the other side''s domain, internal for our own',
    people           AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', people_tokens)
                                                               COMMENT 'distinct people of ours who sent or received, as tokens of this cell and month',
    messages         SimpleAggregateFunction(maxMap, Tuple(Array(UInt64), Array(UInt64))) DEFAULT (message_tokens, message_bytes)
                                                               COMMENT 'distinct messages, as tokens of this cell and month, and the bytes of each',
    forwarded        AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', forwarded_tokens)
                                                               COMMENT 'messages that a rule, not a person, passed on to the outside',
    identity_numbers AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', identity_number_tokens)
                                                               COMMENT 'messages with a personal identity number in the subject line',
    sensitive        AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', sensitive_tokens)
                                                               COMMENT 'messages with an identity number or another sensitive pattern in the subject line',
    next             SimpleAggregateFunction(max, UInt64)      COMMENT 'watermark rows: the first offset that is not in',
    begun_at         SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'watermark rows: when the batch was begun',
    people_tokens          Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to people',
    message_tokens         Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to messages',
    message_bytes          Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to messages',
    forwarded_tokens       Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to forwarded',
    identity_number_tokens Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to identity_numbers',
    sensitive_tokens       Array(UInt64) EPHEMERAL             COMMENT 'input only: fed to sensitive'
)
ENGINE = AggregatingMergeTree
PARTITION BY day
ORDER BY (mark, tenant, population, unit, direction, category, domain)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Mail by day, unit, direction and domain of the other side';
