-- Statistics of web use, pre-aggregated by ingest: one row per cell and batch, merged by ClickHouse.
-- A row with mark > 0 is no statistic but the watermark of a source partition: it was written in the same block as the
-- data rows of its batch, so the question "is this batch in this table and day?" and the data cannot disagree.
-- unit = '' and category = '' mean all of them: people can't be added up over cells, so each total is a cell of its own.
-- Tokens are pseudonyms that differ by cell and month; a state keeps them, so no identity may ever be fed to one.

CREATE TABLE IF NOT EXISTS web_hourly
(
    day           Date                                      COMMENT 'local day of the tenant',
    mark          UInt64                                    COMMENT '0: a statistic; otherwise the source partition whose watermark this row is',
    hour          DateTime('UTC')                           COMMENT 'start of the UTC hour',
    tenant        LowCardinality(String)                    COMMENT 'the municipality',
    population    LowCardinality(String)                    COMMENT 'staff, elected, pupil, guest or unknown',
    unit          LowCardinality(String)                    COMMENT 'organisational unit; empty: all units',
    category      LowCardinality(String)                    COMMENT 'category of the destination; empty: all categories',
    requests      SimpleAggregateFunction(sum, UInt64)      COMMENT 'requests',
    blocked       SimpleAggregateFunction(sum, UInt64)      COMMENT 'requests that the proxy refused',
    bytes_in      SimpleAggregateFunction(sum, UInt64)      COMMENT 'bytes to the clients',
    bytes_out     SimpleAggregateFunction(sum, UInt64)      COMMENT 'bytes from the clients',
    people        AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', people_tokens)
                                                            COMMENT 'distinct people, as tokens of this cell and month',
    active_slots  AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', slot_tokens)
                                                            COMMENT 'distinct person x site x five minutes of visits, as tokens of this cell and month',
    next          SimpleAggregateFunction(max, UInt64)      COMMENT 'watermark rows: the first offset that is not in',
    begun_at      SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'watermark rows: when the batch was begun',
    people_tokens Array(UInt64) EPHEMERAL                   COMMENT 'input only: fed to people',
    slot_tokens   Array(UInt64) EPHEMERAL                   COMMENT 'input only: fed to active_slots'
)
ENGINE = AggregatingMergeTree
PARTITION BY day
ORDER BY (mark, tenant, population, unit, category, hour)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Web use by hour, unit and category';

CREATE TABLE IF NOT EXISTS web_domains_daily
(
    day           Date                                      COMMENT 'local day of the tenant',
    mark          UInt64                                    COMMENT '0: a statistic; otherwise the source partition whose watermark this row is',
    tenant        LowCardinality(String)                    COMMENT 'the municipality',
    population    LowCardinality(String)                    COMMENT 'staff, elected, pupil, guest or unknown',
    unit          LowCardinality(String)                    COMMENT 'organisational unit; empty: all units',
    domain        String                                    COMMENT 'registrable domain (public suffix plus one label); protected destinations together as (protected)',
    category      LowCardinality(String)                    COMMENT 'category of the destination',
    requests      SimpleAggregateFunction(sum, UInt64)      COMMENT 'requests',
    blocked       SimpleAggregateFunction(sum, UInt64)      COMMENT 'requests that the proxy refused',
    bytes_in      SimpleAggregateFunction(sum, UInt64)      COMMENT 'bytes to the clients',
    bytes_out     SimpleAggregateFunction(sum, UInt64)      COMMENT 'bytes from the clients',
    people        AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', people_tokens)
                                                            COMMENT 'distinct people, as tokens of this cell and month',
    active_slots  AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', slot_tokens)
                                                            COMMENT 'distinct person x site x five minutes of visits, as tokens of this cell and month',
    next          SimpleAggregateFunction(max, UInt64)      COMMENT 'watermark rows: the first offset that is not in',
    begun_at      SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'watermark rows: when the batch was begun',
    people_tokens Array(UInt64) EPHEMERAL                   COMMENT 'input only: fed to people',
    slot_tokens   Array(UInt64) EPHEMERAL                   COMMENT 'input only: fed to active_slots'
)
ENGINE = AggregatingMergeTree
PARTITION BY day
ORDER BY (mark, tenant, population, unit, category, domain)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Web use by day, unit and domain';

CREATE TABLE IF NOT EXISTS web_countries_daily
(
    day           Date                                      COMMENT 'local day of the tenant',
    mark          UInt64                                    COMMENT '0: a statistic; otherwise the source partition whose watermark this row is',
    tenant        LowCardinality(String)                    COMMENT 'the municipality',
    population    LowCardinality(String)                    COMMENT 'staff, elected, pupil, guest or unknown',
    unit          LowCardinality(String)                    COMMENT 'organisational unit; empty: all units',
    country       LowCardinality(String)                    COMMENT 'ISO 3166-1 alpha-2 code of the destination address; ZZ: not known',
    requests      SimpleAggregateFunction(sum, UInt64)      COMMENT 'requests',
    blocked       SimpleAggregateFunction(sum, UInt64)      COMMENT 'requests that the proxy refused',
    bytes_in      SimpleAggregateFunction(sum, UInt64)      COMMENT 'bytes to the clients',
    bytes_out     SimpleAggregateFunction(sum, UInt64)      COMMENT 'bytes from the clients',
    people        AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', people_tokens)
                                                            COMMENT 'distinct people, as tokens of this cell and month',
    active_slots  AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', slot_tokens)
                                                            COMMENT 'distinct person x site x five minutes of visits, as tokens of this cell and month',
    next          SimpleAggregateFunction(max, UInt64)      COMMENT 'watermark rows: the first offset that is not in',
    begun_at      SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'watermark rows: when the batch was begun',
    people_tokens Array(UInt64) EPHEMERAL                   COMMENT 'input only: fed to people',
    slot_tokens   Array(UInt64) EPHEMERAL                   COMMENT 'input only: fed to active_slots'
)
ENGINE = AggregatingMergeTree
PARTITION BY day
ORDER BY (mark, tenant, population, unit, country)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Web use by day, unit and country of the destination';
