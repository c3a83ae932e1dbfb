CREATE TABLE Commits (
	BucketId VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	BucketIdOriginal VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	StreamId VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	StreamIdOriginal VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	StreamRevision INTEGER NOT NULL,
	Items INTEGER NOT NULL,
	CommitId BINARY(16) NOT NULL,
	CommitSequence INTEGER NOT NULL,
	CommitStamp BIGINT NOT NULL,
	CheckpointNumber BIGINT NOT NULL,
	Dispatched SMALLINT NOT NULL DEFAULT 0,
	Headers LONGBLOB,
	Payload LONGBLOB NOT NULL,
	PRIMARY KEY (CheckpointNumber),
	CHECK (StreamRevision > 0),
	CHECK (Items > 0),
	CHECK (CommitSequence > 0)
)ENGINE=InnoDB
;
CREATE INDEX IX_Commits_Bucket_Checkpoint ON Commits (BucketId, CheckpointNumber)
;
CREATE INDEX IX_Commits_Bucket_Stamp ON Commits (BucketId, CommitStamp)
;
CREATE UNIQUE INDEX IX_Commits_CommitId ON Commits (BucketId, StreamId, CommitId)
;
CREATE UNIQUE INDEX IX_Commits_CommitSequence ON Commits (BucketId, StreamId, CommitSequence)
;
CREATE INDEX IX_Commits_Dispatched ON Commits (Dispatched, CheckpointNumber)
;
CREATE UNIQUE INDEX IX_Commits_Revisions ON Commits (BucketId, StreamId, StreamRevision, Items)
;
CREATE INDEX IX_Commits_Stamp ON Commits (CommitStamp)
;
CREATE TABLE FsstoreCheckpoints (
	NameKey VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	Name VARCHAR(400) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	Value LONGBLOB NOT NULL,
	PRIMARY KEY (NameKey)
)ENGINE=InnoDB
;
CREATE TABLE FsstoreLeases (
	NameKey VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	Name VARCHAR(400) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	Holder VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin,
	Fence BIGINT NOT NULL,
	ExpiresAt DOUBLE NOT NULL,
	PRIMARY KEY (NameKey)
)ENGINE=InnoDB
;
CREATE TABLE FsstoreStore (
	Id SMALLINT NOT NULL,
	SchemaVersion INTEGER NOT NULL,
	LastToken BIGINT NOT NULL,
	PRIMARY KEY (Id)
)ENGINE=InnoDB
;
CREATE TABLE Snapshots (
	BucketId VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	StreamId VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	StreamRevision INTEGER NOT NULL,
	Payload LONGBLOB NOT NULL,
	PRIMARY KEY (BucketId, StreamId, StreamRevision),
	CHECK (StreamRevision > 0)
)ENGINE=InnoDB
;
UPDATE FsstoreStore SET LastToken=last_insert_id(FsstoreStore.LastToken + %s)
;
INSERT INTO Commits (BucketId, BucketIdOriginal, StreamId, StreamIdOriginal, StreamRevision, Items, CommitId, CommitSequence, CommitStamp, CheckpointNumber, Payload) SELECT %s AS anon_1, %s AS anon_2, %s AS anon_3, %s AS anon_4, %s AS anon_5, %s AS anon_6, %s AS anon_7, %s AS anon_8, %s AS anon_9, %s AS anon_10, %s AS anon_11
FROM Commits
WHERE Commits.BucketId = %s AND Commits.StreamId = %s AND Commits.CommitSequence = %s AND Commits.StreamRevision = %s
;
INSERT INTO Commits (BucketId, BucketIdOriginal, StreamId, StreamIdOriginal, StreamRevision, Items, CommitId, CommitSequence, CommitStamp, CheckpointNumber, Dispatched, Headers, Payload) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
;
SELECT Commits.BucketId, Commits.StreamId, Commits.CommitSequence, Commits.StreamRevision
FROM Commits
WHERE Commits.BucketId IN (__[POSTCOMPILE_buckets]) AND Commits.StreamId IN (__[POSTCOMPILE_streams]) AND Commits.CommitSequence IN (__[POSTCOMPILE_sequences])
;
SELECT max(Commits.CommitSequence) AS max_1, max(Commits.StreamRevision) AS max_2
FROM Commits
WHERE Commits.BucketId = %s AND Commits.StreamId = %s
;
SELECT Commits.CommitId
FROM Commits
WHERE Commits.BucketId = %s AND Commits.StreamId = %s AND Commits.CommitId = %s
;
SELECT count(*) AS count_1
FROM (SELECT Commits.CheckpointNumber AS CheckpointNumber
FROM Commits
WHERE Commits.BucketId = %s AND Commits.StreamId = %s AND Commits.CommitSequence = %s) AS beginning
;
SELECT count(*) AS count_1
FROM Snapshots
WHERE Snapshots.BucketId = %s AND Snapshots.StreamId = %s AND Snapshots.StreamRevision = %s
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.BucketId = %s AND Commits.StreamId = %s AND Commits.StreamRevision > %s ORDER BY Commits.StreamRevision
 LIMIT %s
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.BucketId = %s AND Commits.StreamId = %s AND Commits.StreamRevision > %s AND Commits.StreamRevision <= coalesce((SELECT min(Commits.StreamRevision) AS min_1
FROM Commits
WHERE Commits.BucketId = %s AND Commits.StreamId = %s AND Commits.StreamRevision >= %s), %s) ORDER BY Commits.StreamRevision
 LIMIT %s
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.CheckpointNumber > %s ORDER BY Commits.CheckpointNumber
 LIMIT %s
;
SELECT Snapshots.StreamRevision, Snapshots.Payload
FROM Snapshots
WHERE Snapshots.BucketId = %s AND Snapshots.StreamId = %s AND Snapshots.StreamRevision <= %s ORDER BY Snapshots.StreamRevision DESC
 LIMIT %s
;
SELECT found.StreamId, found.`StreamIdOriginal`, found.`HeadRevision`, found.`SnapshotRevision`
FROM (SELECT streams.StreamId AS StreamId, streams.`StreamIdOriginal` AS `StreamIdOriginal`, streams.`HeadRevision` AS `HeadRevision`, (SELECT coalesce(max(Snapshots.StreamRevision), %s) AS coalesce_1
FROM Snapshots
WHERE Snapshots.BucketId = %s AND Snapshots.StreamId = streams.StreamId) AS `SnapshotRevision`
FROM (SELECT Commits.StreamId AS StreamId, max(Commits.StreamIdOriginal) AS `StreamIdOriginal`, max(Commits.StreamRevision) AS `HeadRevision`
FROM Commits
WHERE Commits.BucketId = %s AND Commits.StreamId > %s GROUP BY Commits.StreamId) AS streams) AS found
WHERE found.`HeadRevision` - found.`SnapshotRevision` >= %s ORDER BY found.StreamId
 LIMIT %s
