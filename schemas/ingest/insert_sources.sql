INSERT INTO sources (mark, cluster, topic, epoch, partition, topic_id, first_seen)
