INSERT INTO sources (mark, cluster, topic, epoch, partition, first_seen)
