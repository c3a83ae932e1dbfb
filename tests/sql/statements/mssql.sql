CREATE TABLE Commits (
	BucketId VARCHAR(40) COLLATE Latin1_General_BIN2 NOT NULL,
	BucketIdOriginal NVARCHAR(2000) NULL,
	StreamId VARCHAR(40) COLLATE Latin1_General_BIN2 NOT NULL,
	StreamIdOriginal NVARCHAR(2000) NOT NULL,
	StreamRevision INTEGER NOT NULL,
	Items INTEGER NOT NULL,
	CommitId UNIQUEIDENTIFIER NOT NULL,
	CommitSequence INTEGER NOT NULL,
	CommitStamp DATETIME2(7) NOT NULL,
	CheckpointNumber BIGINT NOT NULL,
	Dispatched SMALLINT NOT NULL DEFAULT 0,
	Headers VARBINARY(max) NULL,
	Payload VARBINARY(max) NOT NULL,
	CONSTRAINT [PK_Commits] PRIMARY KEY (CheckpointNumber),
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
	NameKey VARCHAR(40) COLLATE Latin1_General_BIN2 NOT NULL,
	Name NVARCHAR(400) NOT NULL,
	Value VARBINARY(max) NOT NULL,
	CONSTRAINT [PK_FsstoreCheckpoints] PRIMARY KEY (NameKey)
)
;
CREATE TABLE FsstoreLeases (
	NameKey VARCHAR(40) COLLATE Latin1_General_BIN2 NOT NULL,
	Name NVARCHAR(400) NOT NULL,
	Holder VARCHAR(40) COLLATE Latin1_General_BIN2 NULL,
	Fence BIGINT NOT NULL,
	ExpiresAt DOUBLE PRECISION NOT NULL,
	CONSTRAINT [PK_FsstoreLeases] PRIMARY KEY (NameKey)
)
;
CREATE TABLE FsstoreStore (
	Id SMALLINT NOT NULL,
	SchemaVersion INTEGER NOT NULL,
	LastToken BIGINT NOT NULL,
	CONSTRAINT [PK_FsstoreStore] PRIMARY KEY (Id)
)
;
CREATE TABLE Snapshots (
	BucketId VARCHAR(40) COLLATE Latin1_General_BIN2 NOT NULL,
	StreamId VARCHAR(40) COLLATE Latin1_General_BIN2 NOT NULL,
	StreamRevision INTEGER NOT NULL,
	Payload VARBINARY(max) NOT NULL,
	CONSTRAINT [PK_Snapshots] PRIMARY KEY (BucketId, StreamId, StreamRevision),
	CHECK (StreamRevision > 0)
)
;
UPDATE FsstoreStore SET LastToken=(FsstoreStore.LastToken + :count) OUTPUT inserted.LastToken
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
WHERE Commits.BucketId = :bucket AND Commits.StreamId = :stream AND Commits.CommitSequence = :CommitSequence_1) AS beginning
;
SELECT count(*) AS count_1
FROM Snapshots
WHERE Snapshots.BucketId = :bucket AND Snapshots.StreamId = :stream AND Snapshots.StreamRevision = :revision
;
SELECT anon_1.BucketId, anon_1.BucketIdOriginal, anon_1.StreamIdOriginal, anon_1.StreamRevision, anon_1.CommitId, anon_1.CommitSequence, anon_1.CommitStamp, anon_1.CheckpointNumber, anon_1.Payload
FROM (SELECT Commits.BucketId AS BucketId, Commits.BucketIdOriginal AS BucketIdOriginal, Commits.StreamIdOriginal AS StreamIdOriginal, Commits.StreamRevision AS StreamRevision, Commits.CommitId AS CommitId, Commits.CommitSequence AS CommitSequence, Commits.CommitStamp AS CommitStamp, Commits.CheckpointNumber AS CheckpointNumber, Commits.Payload AS Payload, ROW_NUMBER() OVER (ORDER BY Commits.StreamRevision) AS mssql_rn
FROM Commits
WHERE Commits.BucketId = :bucket AND Commits.StreamId = :stream AND Commits.StreamRevision > :after) AS anon_1
WHERE mssql_rn <= :limit
;
SELECT anon_1.BucketId, anon_1.BucketIdOriginal, anon_1.StreamIdOriginal, anon_1.StreamRevision, anon_1.CommitId, anon_1.CommitSequence, anon_1.CommitStamp, anon_1.CheckpointNumber, anon_1.Payload
FROM (SELECT Commits.BucketId AS BucketId, Commits.BucketIdOriginal AS BucketIdOriginal, Commits.StreamIdOriginal AS StreamIdOriginal, Commits.StreamRevision AS StreamRevision, Commits.CommitId AS CommitId, Commits.CommitSequence AS CommitSequence, Commits.CommitStamp AS CommitStamp, Commits.CheckpointNumber AS CheckpointNumber, Commits.Payload AS Payload, ROW_NUMBER() OVER (ORDER BY Commits.StreamRevision) AS mssql_rn
FROM Commits
WHERE Commits.BucketId = :bucket AND Commits.StreamId = :stream AND Commits.StreamRevision > :after AND Commits.StreamRevision <= coalesce((SELECT min(Commits.StreamRevision) AS min_1
FROM Commits
WHERE Commits.BucketId = :bucket AND Commits.StreamId = :stream AND Commits.StreamRevision >= :high), :high)) AS anon_1
WHERE mssql_rn <= :limit
;
SELECT anon_1.BucketId, anon_1.BucketIdOriginal, anon_1.StreamIdOriginal, anon_1.StreamRevision, anon_1.CommitId, anon_1.CommitSequence, anon_1.CommitStamp, anon_1.CheckpointNumber, anon_1.Payload
FROM (SELECT Commits.BucketId AS BucketId, Commits.BucketIdOriginal AS BucketIdOriginal, Commits.StreamIdOriginal AS StreamIdOriginal, Commits.StreamRevision AS StreamRevision, Commits.CommitId AS CommitId, Commits.CommitSequence AS CommitSequence, Commits.CommitStamp AS CommitStamp, Commits.CheckpointNumber AS CheckpointNumber, Commits.Payload AS Payload, ROW_NUMBER() OVER (ORDER BY Commits.CheckpointNumber) AS mssql_rn
FROM Commits
WHERE Commits.CheckpointNumber > :after) AS anon_1
WHERE mssql_rn <= :limit
;
SELECT TOP __[POSTCOMPILE_param_1] Snapshots.StreamRevision, Snapshots.Payload
FROM Snapshots
WHERE Snapshots.BucketId = :bucket AND Snapshots.StreamId = :stream AND Snapshots.StreamRevision <= :high ORDER BY Snapshots.StreamRevision DESC
;
SELECT anon_1.StreamId, anon_1.[StreamIdOriginal], anon_1.[HeadRevision], anon_1.[SnapshotRevision]
FROM (SELECT found.StreamId AS StreamId, found.[StreamIdOriginal] AS [StreamIdOriginal], found.[HeadRevision] AS [HeadRevision], found.[SnapshotRevision] AS [SnapshotRevision], ROW_NUMBER() OVER (ORDER BY found.StreamId) AS mssql_rn
FROM (SELECT streams.StreamId AS StreamId, streams.[StreamIdOriginal] AS [StreamIdOriginal], streams.[HeadRevision] AS [HeadRevision], (SELECT coalesce(max(Snapshots.StreamRevision), :coalesce_2) AS coalesce_1
FROM Snapshots
WHERE Snapshots.BucketId = :bucket AND Snapshots.StreamId = streams.StreamId) AS [SnapshotRevision]
FROM (SELECT Commits.StreamId AS StreamId, max(Commits.StreamIdOriginal) AS [StreamIdOriginal], max(Commits.StreamRevision) AS [HeadRevision]
FROM Commits
WHERE Commits.BucketId = :bucket AND Commits.StreamId > :after GROUP BY Commits.StreamId) AS streams) AS found
WHERE found.[HeadRevision] - found.[SnapshotRevision] >= :threshold) AS anon_1
WHERE mssql_rn <= :limit
