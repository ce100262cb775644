/** Bounds of what an app's events may hold. Lengths are UTF-16 units, except where bytes are said. */
export interface EventLimits {
  /** Events of one PutEvents. */
  requestEvents: number;
  typeLength: number;
  /** Of the name of an attribute or metric. */
  nameLength: number;
  /** Of the value of an attribute. */
  valueLength: number;
  /** Attributes and metrics of one event together. */
  names: number;
  /** JSON size of one event. */
  eventBytes: number;
  /** Distinct names in all events of an application; its custom types are those that Pinpoint does not define. */
  customTypes: number;
  attributeNames: number;
  metricNames: number;
}

/** What protects the server; on for everybody. */
export const protectiveEventLimits: EventLimits = {
  requestEvents: 1_000,
  typeLength: 256,
  nameLength: 256,
  valueLength: 8_192,
  names: 256,
  eventBytes: 1_000 * 1024,
  customTypes: 10_000,
  attributeNames: 10_000,
  metricNames: 10_000,
};

/** The documented quotas of Pinpoint (reference 8.2), for those who want to be held to them. */
export const pinpointEventLimits: EventLimits = {
  requestEvents: 100,
  typeLength: 256,
  nameLength: 50,
  valueLength: 200,
  names: 40,
  eventBytes: 1_000 * 1024,
  customTypes: 1_500,
  attributeNames: 500,
  metricNames: 500,
};
