DROP TABLE event_block;
