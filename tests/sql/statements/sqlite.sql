CREATE TABLE Commits (
	BucketId VARCHAR(40) NOT NULL,
	BucketIdOriginal VARCHAR(2000),
	StreamId VARCHAR(40) NOT NULL,
	StreamIdOriginal VARCHAR(2000) NOT NULL,
	StreamRevision INTEGER NOT NULL,
	Items INTEGER NOT NULL,
	CommitId BLOB NOT NULL,
	CommitSequence INTEGER NOT NULL,
	CommitStamp VARCHAR(26) NOT NULL,
	CheckpointNumber INTEGER NOT NULL,
	Dispatched SMALLINT DEFAULT 0 NOT NULL,
	Headers BLOB,
	Payload BLOB NOT NULL,
	CONSTRAINT "PK_Commits" PRIMARY KEY (CheckpointNumber),
	CHECK (StreamRevision > 0),
	CHECK (Items > 0),
	CHECK (CommitSequence > 0)
)
;
CREATE INDEX IX_Commits_Bucket_Checkpoint ON Commits (BucketId, CheckpointNumber)
;
CREATE INDEX IX_Commits_Bucket_Stamp ON Commits (BucketId, CommitStamp)
;
CREATE UNIQUE INDEX IX_Commits_CommitId ON Commits (BucketId, StreamId, CommitId)
;
CREATE UNIQUE INDEX IX_Commits_CommitSequence ON Commits (BucketId, StreamId, CommitSequence)
;
CREATE INDEX IX_Commits_Dispatched ON Commits (Dispatched, CheckpointNumber) WHERE Dispatched = 0
;
CREATE UNIQUE INDEX IX_Commits_Revisions ON Commits (BucketId, StreamId, StreamRevision, Items)
;
CREATE INDEX IX_Commits_Stamp ON Commits (CommitStamp)
;
CREATE TABLE FsstoreCheckpoints (
	NameKey VARCHAR(40) NOT NULL,
	Name VARCHAR(400) NOT NULL,
	Value BLOB NOT NULL,
	CONSTRAINT "PK_FsstoreCheckpoints" PRIMARY KEY (NameKey)
)
;
CREATE TABLE FsstoreLeases (
	NameKey VARCHAR(40) NOT NULL,
	Name VARCHAR(400) NOT NULL,
	Holder VARCHAR(40),
	Fence INTEGER NOT NULL,
	ExpiresAt DOUBLE NOT NULL,
	CONSTRAINT "PK_FsstoreLeases" PRIMARY KEY (NameKey)
)
;
CREATE TABLE FsstoreStore (
	Id SMALLINT NOT NULL,
	SchemaVersion INTEGER NOT NULL,
	LastToken INTEGER NOT NULL,
	CONSTRAINT "PK_FsstoreStore" PRIMARY KEY (Id)
)
;
CREATE TABLE Snapshots (
	BucketId VARCHAR(40) NOT NULL,
	StreamId VARCHAR(40) NOT NULL,
	StreamRevision INTEGER NOT NULL,
	Payload BLOB NOT NULL,
	CONSTRAINT "PK_Snapshots" PRIMARY KEY (BucketId, StreamId, StreamRevision),
	CHECK (StreamRevision > 0)
)
;
UPDATE FsstoreStore SET LastToken=(FsstoreStore.LastToken + ?) RETURNING LastToken
;
INSERT INTO Commits (BucketId, BucketIdOriginal, StreamId, StreamIdOriginal, StreamRevision, Items, CommitId, CommitSequence, CommitStamp, CheckpointNumber, Payload) SELECT ? AS anon_1, ? AS anon_2, ? AS anon_3, ? AS anon_4, ? AS anon_5, ? AS anon_6, ? AS anon_7, ? AS anon_8, ? AS anon_9, ? AS anon_10, ? AS anon_11
FROM Commits
WHERE Commits.BucketId = ? AND Commits.StreamId = ? AND Commits.CommitSequence = ? AND Commits.StreamRevision = ?
;
INSERT INTO Commits (BucketId, BucketIdOriginal, StreamId, StreamIdOriginal, StreamRevision, Items, CommitId, CommitSequence, CommitStamp, CheckpointNumber, Dispatched, Headers, Payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
;
SELECT Commits.BucketId, Commits.StreamId, Commits.CommitSequence, Commits.StreamRevision
FROM Commits
WHERE Commits.BucketId IN (__[POSTCOMPILE_buckets]) AND Commits.StreamId IN (__[POSTCOMPILE_streams]) AND Commits.CommitSequence IN (__[POSTCOMPILE_sequences])
;
SELECT max(Commits.CommitSequence) AS max_1, max(Commits.StreamRevision) AS max_2
FROM Commits
WHERE Commits.BucketId = ? AND Commits.StreamId = ?
;
SELECT Commits.CommitId
FROM Commits
WHERE Commits.BucketId = ? AND Commits.StreamId = ? AND Commits.CommitId = ?
;
SELECT count(*) AS count_1
FROM (SELECT Commits.CheckpointNumber AS CheckpointNumber
FROM Commits
WHERE Commits.BucketId = ? AND Commits.StreamId = ? AND Commits.CommitSequence = ?) AS beginning
;
SELECT count(*) AS count_1
FROM Snapshots
WHERE Snapshots.BucketId = ? AND Snapshots.StreamId = ? AND Snapshots.StreamRevision = ?
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.BucketId = ? AND Commits.StreamId = ? AND Commits.StreamRevision > ? ORDER BY Commits.StreamRevision
 LIMIT ? OFFSET ?
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.BucketId = ? AND Commits.StreamId = ? AND Commits.StreamRevision > ? AND Commits.StreamRevision <= coalesce((SELECT min(Commits.StreamRevision) AS min_1
FROM Commits
WHERE Commits.BucketId = ? AND Commits.StreamId = ? AND Commits.StreamRevision >= ?), ?) ORDER BY Commits.StreamRevision
 LIMIT ? OFFSET ?
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.CheckpointNumber > ? ORDER BY Commits.CheckpointNumber
 LIMIT ? OFFSET ?
;
SELECT Snapshots.StreamRevision, Snapshots.Payload
FROM Snapshots
WHERE Snapshots.BucketId = ? AND Snapshots.StreamId = ? AND Snapshots.StreamRevision <= ? ORDER BY Snapshots.StreamRevision DESC
 LIMIT ? OFFSET ?
;
SELECT found.StreamId, found."StreamIdOriginal", found."HeadRevision", found."SnapshotRevision"
FROM (SELECT streams.StreamId AS StreamId, streams."StreamIdOriginal" AS "StreamIdOriginal", streams."HeadRevision" AS "HeadRevision", (SELECT coalesce(max(Snapshots.StreamRevision), ?) AS coalesce_1
FROM Snapshots
WHERE Snapshots.BucketId = ? AND Snapshots.StreamId = streams.StreamId) AS "SnapshotRevision"
FROM (SELECT Commits.StreamId AS StreamId, max(Commits.StreamIdOriginal) AS "StreamIdOriginal", max(Commits.StreamRevision) AS "HeadRevision"
FROM Commits
WHERE Commits.BucketId = ? AND Commits.StreamId > ? GROUP BY Commits.StreamId) AS streams) AS found
WHERE found."HeadRevision" - found."SnapshotRevision" >= ? ORDER BY found.StreamId
 LIMIT ? OFFSET ?
