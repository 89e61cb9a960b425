/** The tools behind `twz`, for programs: `twizzler/tools`. */
export { ActivityMeter, type Activity, type HotObject } from './services/activity.ts';
export { LogFollower, type Followed } from './services/follow.ts';
export { salvageSpace, type SalvageReport } from './services/check/salvage.ts';
export { copyObjects, type CopyOptions, type CopyReport } from './services/copy.ts';
export { diffSpaces, type FieldDiff, type NameDiff, type ObjectDiff, type SpaceDiff } from './services/diff.ts';
export { dumpSpace, loadInto, loadNew, type DumpOptions, type LoadOptions, type LoadReport } from './services/dump.ts';
export { spaceUsage, usageFrom, type ObjectUsage, type SpaceUsage, type UsageNode } from './services/usage.ts';
export { listBackup, restoreBackup, type PointFacts, type PointHead, type RestoreOptions } from './services/backup.ts';
