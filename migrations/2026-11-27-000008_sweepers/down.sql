DROP TABLE sweeper;
