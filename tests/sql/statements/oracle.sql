CREATE TABLE Commits (
	BucketId VARCHAR2(40 CHAR) NOT NULL,
	BucketIdOriginal VARCHAR2(2000 CHAR),
	StreamId VARCHAR2(40 CHAR) NOT NULL,
	StreamIdOriginal VARCHAR2(2000 CHAR) NOT NULL,
	StreamRevision INTEGER NOT NULL,
	Items INTEGER NOT NULL,
	CommitId RAW(16) NOT NULL,
	CommitSequence INTEGER NOT NULL,
	CommitStamp TIMESTAMP NOT NULL,
	CheckpointNumber NUMBER(19) NOT NULL,
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
CREATE INDEX IX_Commits_Dispatched ON Commits (Dispatched, CheckpointNumber)
;
CREATE UNIQUE INDEX IX_Commits_Revisions ON Commits (BucketId, StreamId, StreamRevision, Items)
;
CREATE INDEX IX_Commits_Stamp ON Commits (CommitStamp)
;
CREATE TABLE FsstoreCheckpoints (
	NameKey VARCHAR2(40 CHAR) NOT NULL,
	Name VARCHAR2(400 CHAR) NOT NULL,
	Value BLOB NOT NULL,
	CONSTRAINT "PK_FsstoreCheckpoints" PRIMARY KEY (NameKey)
)
;
CREATE TABLE FsstoreLeases (
	NameKey VARCHAR2(40 CHAR) NOT NULL,
	Name VARCHAR2(400 CHAR) NOT NULL,
	Holder VARCHAR2(40 CHAR),
	Fence NUMBER(19) NOT NULL,
	ExpiresAt DOUBLE PRECISION NOT NULL,
	CONSTRAINT "PK_FsstoreLeases" PRIMARY KEY (NameKey)
)
;
CREATE TABLE FsstoreStore (
	Id SMALLINT NOT NULL,
	SchemaVersion INTEGER NOT NULL,
	LastToken NUMBER(19) NOT NULL,
	CONSTRAINT "PK_FsstoreStore" PRIMARY KEY (Id)
)
;
CREATE TABLE Snapshots (
	BucketId VARCHAR2(40 CHAR) NOT NULL,
	StreamId VARCHAR2(40 CHAR) NOT NULL,
	StreamRevision INTEGER NOT NULL,
	Payload BLOB NOT NULL,
	CONSTRAINT "PK_Snapshots" PRIMARY KEY (BucketId, StreamId, StreamRevision),
	CHECK (StreamRevision > 0)
)
;
UPDATE FsstoreStore SET LastToken=(FsstoreStore.LastToken + :count) RETURNING FsstoreStore.LastToken INTO :ret_0
;
INSERT INTO Commits (BucketId, BucketIdOriginal, StreamId, StreamIdOriginal, StreamRevision, Items, CommitId, CommitSequence, CommitStamp, CheckpointNumber, Payload) SELECT :BucketId AS anon_1, :BucketIdOriginal AS anon_2, :StreamId AS anon_3, :StreamIdOriginal AS anon_4, :StreamRevision AS anon_5, :Items AS anon_6, :CommitId AS anon_7, :CommitSequence AS anon_8, :CommitStamp AS anon_9, :CheckpointNumber AS anon_10, :Payload AS anon_11
FROM Commits
WHERE Commits.BucketId = :BucketId AND Commits.StreamId = :StreamId AND Commits.CommitSequence = :sequence AND Commits.StreamRevision = :revision
;
INSERT INTO Commits (BucketId, BucketIdOriginal, StreamId, StreamIdOriginal, StreamRevision, Items, CommitId, CommitSequence, CommitStamp, CheckpointNumber, Dispatched, Headers, Payload) VALUES (:BucketId, :BucketIdOriginal, :StreamId, :StreamIdOriginal, :StreamRevision, :Items, :CommitId, :CommitSequence, :CommitStamp, :CheckpointNumber, :Dispatched, :Headers, :Payload)
;
SELECT Commits.BucketId, Commits.StreamId, Commits.CommitSequence, Commits.StreamRevision
FROM Commits
WHERE Commits.BucketId IN (__[POSTCOMPILE_buckets]) AND Commits.StreamId IN (__[POSTCOMPILE_streams]) AND Commits.CommitSequence IN (__[POSTCOMPILE_sequences])
;
SELECT max(Commits.CommitSequence) AS max_1, max(Commits.StreamRevision) AS max_2
FROM Commits
WHERE Commits.BucketId = :bucket AND Commits.StreamId = :stream
;
SELECT Commits.CommitId
FROM Commits
WHERE Commits.BucketId = :bucket AND Commits.StreamId = :stream AND Commits.CommitId = :commit
;
SELECT count(*) AS count_1
FROM (SELECT Commits.CheckpointNumber AS CheckpointNumber
FROM Commits
WHERE Commits.BucketId = :bucket AND Commits.StreamId = :stream AND Commits.CommitSequence = :CommitSequence_1) beginning
;
SELECT count(*) AS count_1
FROM Snapshots
WHERE Snapshots.BucketId = :bucket AND Snapshots.StreamId = :stream AND Snapshots.StreamRevision = :revision
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.BucketId = :bucket AND Commits.StreamId = :stream AND Commits.StreamRevision > :after ORDER BY Commits.StreamRevision
 FETCH FIRST :limit ROWS ONLY
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.BucketId = :bucket AND Commits.StreamId = :stream AND Commits.StreamRevision > :after AND Commits.StreamRevision <= coalesce((SELECT min(Commits.StreamRevision) AS min_1
FROM Commits
WHERE Commits.BucketId = :bucket AND Commits.StreamId = :stream AND Commits.StreamRevision >= :high), :high) ORDER BY Commits.StreamRevision
 FETCH FIRST :limit ROWS ONLY
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.CheckpointNumber > :after ORDER BY Commits.CheckpointNumber
 FETCH FIRST :limit ROWS ONLY
;
SELECT Snapshots.StreamRevision, Snapshots.Payload
FROM Snapshots
WHERE Snapshots.BucketId = :bucket AND Snapshots.StreamId = :stream AND Snapshots.StreamRevision <= :high ORDER BY Snapshots.StreamRevision DESC
 FETCH FIRST __[POSTCOMPILE_param_1] ROWS ONLY
;
SELECT found.StreamId, found."StreamIdOriginal", found."HeadRevision", found."SnapshotRevision"
FROM (SELECT streams.StreamId AS StreamId, streams."StreamIdOriginal" AS "StreamIdOriginal", streams."HeadRevision" AS "HeadRevision", (SELECT coalesce(max(Snapshots.StreamRevision), :coalesce_2) AS coalesce_1
FROM Snapshots
WHERE Snapshots.BucketId = :bucket AND Snapshots.StreamId = streams.StreamId) AS "SnapshotRevision"
FROM (SELECT Commits.StreamId AS StreamId, max(Commits.StreamIdOriginal) AS "StreamIdOriginal", max(Commits.StreamRevision) AS "HeadRevision"
FROM Commits
WHERE Commits.BucketId = :bucket AND Commits.StreamId > :after GROUP BY Commits.StreamId) streams) found
WHERE found."HeadRevision" - found."SnapshotRevision" >= :threshold ORDER BY found.StreamId
 FETCH FIRST :limit ROWS ONLY
