/** For the tests of programs that use this package: a machine in memory whose power can fail, and threads in every order of their steps. */
export { SimulatedHost, PowerLoss, type SimulatedOptions } from '../host/simulated/simulated.ts';
export { LOSS_MODES, type LossMode, type LossPlan } from '../host/simulated/loss.ts';
export { CALL_ERRORS, type CallKind, type Fault, type FaultKind } from '../host/simulated/faults.ts';
export {
  explore,
  replay,
  type Exploration,
  type ExplorationFailure,
  type ExploreOptions,
  type Outcome,
  type Program,
} from './explorer/explore.ts';
