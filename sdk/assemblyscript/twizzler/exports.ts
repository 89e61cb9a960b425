/** What every program exports besides its own. */
export { twz_buffer } from 'twizzler';
