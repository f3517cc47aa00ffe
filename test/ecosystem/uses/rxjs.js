import { delay, filter, from, lastValueFrom, map, mergeMap, of, toArray } from "rxjs";

export const use = () =>
  lastValueFrom(
    from([1, 2, 3, 4]).pipe(
      filter((value) => value % 2 === 0),
      mergeMap((value) => of(value).pipe(delay(value))),
      map((value) => value * 10),
      toArray(),
    ),
  );
