/** The tools behind `twz`, for programs: `twizzler/tools`. */
export { listBackup, restoreBackup, type PointFacts, type PointHead, type RestoreOptions } from './services/backup.ts';
