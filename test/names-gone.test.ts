/** T15: names of objects that are no longer there, and of spaces that are closed. */
import assert from 'node:assert/strict';
import { isTwzError, type Space } from '../src/index.ts';
import { onHosts } from './hosts.ts';

onHosts(
  'T15: a name whose object was deleted can be moved, within its namespace and out of it, and still tells what it named',
  (ground) => {
    const space = ground.open();
    const id = space.relaxed(() => {
      const object = space.createRaw(64);
      space.names.mkns('/n');
      space.names.set('/a', object);
      space.names.set('/kept', space.createRaw(64));
      return object.id;
    });
    space.relaxed(() => void space.delete(id));
    const opened = ground.afterDeath(space);
    opened.relaxed(() => opened.names.rename('/a', '/b'));
    opened.relaxed(() => opened.names.rename('/b', '/n/c'));
    const agrees = (each: Space): void => {
      assert.deepEqual(
        each.names.list('/').map(({ name }) => name),
        ['kept', 'n'],
      );
      assert.deepEqual(each.names.list('/n'), [{ name: 'c', kind: 'object', id, owns: false, target: undefined }]);
      assert.throws(
        () => each.names.get('/n/c'),
        (error) => isTwzError(error, 'ObjectDeleted'),
      );
    };
    agrees(opened);
    const again = ground.afterClose(opened);
    agrees(again);
    again.relaxed(() => again.names.remove('/n/c'));
    assert.deepEqual(again.names.list('/n'), []);
  },
);

onHosts('T15: a closed space does not say that it holds nothing, but that it is closed', (ground) => {
  const space = ground.open();
  const id = space.relaxed(() => {
    const object = space.createRaw(64);
    space.names.set('/a', object);
    return object.id;
  });
  space.close();
  const { names } = space;
  for (const ask of [() => names.list(), () => names.find('/a'), () => names.lookup('/a'), () => names.get('/a'), () => space.has(id)])
    assert.throws(ask, (error) => isTwzError(error, 'SpaceClosed'), String(ask));
  assert.throws(
    () => [...space.ids()],
    (error) => isTwzError(error, 'SpaceClosed'),
  );
});
