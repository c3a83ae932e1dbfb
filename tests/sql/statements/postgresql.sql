CREATE TABLE Commits (
	BucketId VARCHAR(40) NOT NULL,
	BucketIdOriginal VARCHAR(2000),
	StreamId VARCHAR(40) NOT NULL,
	StreamIdOriginal VARCHAR(2000) NOT NULL,
	StreamRevision INTEGER NOT NULL,
	Items INTEGER NOT NULL,
	CommitId UUID NOT NULL,
	CommitSequence INTEGER NOT NULL,
	CommitStamp TIMESTAMP WITH TIME ZONE NOT NULL,
	CheckpointNumber BIGINT NOT NULL,
	Dispatched SMALLINT DEFAULT 0 NOT NULL,
	Headers BYTEA,
	Payload BYTEA NOT NULL,
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
	Value BYTEA NOT NULL,
	CONSTRAINT "PK_FsstoreCheckpoints" PRIMARY KEY (NameKey)
)
;
CREATE TABLE FsstoreLeases (
	NameKey VARCHAR(40) NOT NULL,
	Name VARCHAR(400) NOT NULL,
	Holder VARCHAR(40),
	Fence BIGINT NOT NULL,
	ExpiresAt DOUBLE PRECISION NOT NULL,
	CONSTRAINT "PK_FsstoreLeases" PRIMARY KEY (NameKey)
)
;
CREATE TABLE FsstoreStore (
	Id SMALLINT NOT NULL,
	SchemaVersion INTEGER NOT NULL,
	LastToken BIGINT NOT NULL,
	CONSTRAINT "PK_FsstoreStore" PRIMARY KEY (Id)
)
;
CREATE TABLE Snapshots (
	BucketId VARCHAR(40) NOT NULL,
	StreamId VARCHAR(40) NOT NULL,
	StreamRevision INTEGER NOT NULL,
	Payload BYTEA NOT NULL,
	CONSTRAINT "PK_Snapshots" PRIMARY KEY (BucketId, StreamId, StreamRevision),
	CHECK (StreamRevision > 0)
)
;
UPDATE FsstoreStore SET LastToken=(FsstoreStore.LastToken + %(count)s::BIGINT) RETURNING FsstoreStore.LastToken
;
INSERT INTO Commits (BucketId, BucketIdOriginal, StreamId, StreamIdOriginal, StreamRevision, Items, CommitId, CommitSequence, CommitStamp, CheckpointNumber, Payload) SELECT %(BucketId)s::VARCHAR AS anon_1, %(BucketIdOriginal)s::VARCHAR AS anon_2, %(StreamId)s::VARCHAR AS anon_3, %(StreamIdOriginal)s::VARCHAR AS anon_4, %(StreamRevision)s::INTEGER AS anon_5, %(Items)s::INTEGER AS anon_6, %(CommitId)s::UUID AS anon_7, %(CommitSequence)s::INTEGER AS anon_8, %(CommitStamp)s::TIMESTAMP WITH TIME ZONE AS anon_9, %(CheckpointNumber)s::BIGINT AS anon_10, %(Payload)s AS anon_11
FROM Commits
WHERE Commits.BucketId = %(BucketId)s::VARCHAR AND Commits.StreamId = %(StreamId)s::VARCHAR AND Commits.CommitSequence = %(sequence)s::INTEGER AND Commits.StreamRevision = %(revision)s::INTEGER
;
INSERT INTO Commits (BucketId, BucketIdOriginal, StreamId, StreamIdOriginal, StreamRevision, Items, CommitId, CommitSequence, CommitStamp, CheckpointNumber, Dispatched, Headers, Payload) VALUES (%(BucketId)s::VARCHAR, %(BucketIdOriginal)s::VARCHAR, %(StreamId)s::VARCHAR, %(StreamIdOriginal)s::VARCHAR, %(StreamRevision)s::INTEGER, %(Items)s::INTEGER, %(CommitId)s::UUID, %(CommitSequence)s::INTEGER, %(CommitStamp)s::TIMESTAMP WITH TIME ZONE, %(CheckpointNumber)s::BIGINT, %(Dispatched)s::SMALLINT, %(Headers)s, %(Payload)s)
;
SELECT Commits.BucketId, Commits.StreamId, Commits.CommitSequence, Commits.StreamRevision
FROM Commits
WHERE Commits.BucketId IN (__[POSTCOMPILE_buckets]) AND Commits.StreamId IN (__[POSTCOMPILE_streams]) AND Commits.CommitSequence IN (__[POSTCOMPILE_sequences])
;
SELECT max(Commits.CommitSequence) AS max_1, max(Commits.StreamRevision) AS max_2
FROM Commits
WHERE Commits.BucketId = %(bucket)s::VARCHAR AND Commits.StreamId = %(stream)s::VARCHAR
;
SELECT Commits.CommitId
FROM Commits
WHERE Commits.BucketId = %(bucket)s::VARCHAR AND Commits.StreamId = %(stream)s::VARCHAR AND Commits.CommitId = %(commit)s::UUID
;
SELECT count(*) AS count_1
FROM (SELECT Commits.CheckpointNumber AS CheckpointNumber
FROM Commits
WHERE Commits.BucketId = %(bucket)s::VARCHAR AND Commits.StreamId = %(stream)s::VARCHAR AND Commits.CommitSequence = %(CommitSequence_1)s::INTEGER) AS beginning
;
SELECT count(*) AS count_1
FROM Snapshots
WHERE Snapshots.BucketId = %(bucket)s::VARCHAR AND Snapshots.StreamId = %(stream)s::VARCHAR AND Snapshots.StreamRevision = %(revision)s::INTEGER
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.BucketId = %(bucket)s::VARCHAR AND Commits.StreamId = %(stream)s::VARCHAR AND Commits.StreamRevision > %(after)s::INTEGER ORDER BY Commits.StreamRevision
 LIMIT %(limit)s::INTEGER
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.BucketId = %(bucket)s::VARCHAR AND Commits.StreamId = %(stream)s::VARCHAR AND Commits.StreamRevision > %(after)s::INTEGER AND Commits.StreamRevision <= coalesce((SELECT min(Commits.StreamRevision) AS min_1
FROM Commits
WHERE Commits.BucketId = %(bucket)s::VARCHAR AND Commits.StreamId = %(stream)s::VARCHAR AND Commits.StreamRevision >= %(high)s::INTEGER), %(high)s) ORDER BY Commits.StreamRevision
 LIMIT %(limit)s::INTEGER
;
SELECT Commits.BucketId, Commits.BucketIdOriginal, Commits.StreamIdOriginal, Commits.StreamRevision, Commits.CommitId, Commits.CommitSequence, Commits.CommitStamp, Commits.CheckpointNumber, Commits.Payload
FROM Commits
WHERE Commits.CheckpointNumber > %(after)s::BIGINT ORDER BY Commits.CheckpointNumber
 LIMIT %(limit)s::INTEGER
;
SELECT Snapshots.StreamRevision, Snapshots.Payload
FROM Snapshots
WHERE Snapshots.BucketId = %(bucket)s::VARCHAR AND Snapshots.StreamId = %(stream)s::VARCHAR AND Snapshots.StreamRevision <= %(high)s::INTEGER ORDER BY Snapshots.StreamRevision DESC
 LIMIT %(param_1)s::INTEGER
;
SELECT found.StreamId, found."StreamIdOriginal", found."HeadRevision", found."SnapshotRevision"
FROM (SELECT streams.StreamId AS StreamId, streams."StreamIdOriginal" AS "StreamIdOriginal", streams."HeadRevision" AS "HeadRevision", (SELECT coalesce(max(Snapshots.StreamRevision), %(coalesce_2)s::INTEGER) AS coalesce_1
FROM Snapshots
WHERE Snapshots.BucketId = %(bucket)s::VARCHAR AND Snapshots.StreamId = streams.StreamId) AS "SnapshotRevision"
FROM (SELECT Commits.StreamId AS StreamId, max(Commits.StreamIdOriginal) AS "StreamIdOriginal", max(Commits.StreamRevision) AS "HeadRevision"
FROM Commits
WHERE Commits.BucketId = %(bucket)s::VARCHAR AND Commits.StreamId > %(after)s::VARCHAR GROUP BY Commits.StreamId) AS streams) AS found
WHERE found."HeadRevision" - found."SnapshotRevision" >= %(threshold)s::INTEGER ORDER BY found.StreamId
 LIMIT %(limit)s::INTEGER
