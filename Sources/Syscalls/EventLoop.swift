import CLinux
import Glibc

/// One thread's `poll(2)` loop: descriptors, deadlines, signals, and a way for other threads to wake it.
///
/// The loop holds no callbacks: `wait()` says what happened and the caller decides, so the state stays with the caller.
///
///     while true {
///       for event in try loop.wait() {
///         switch event { … }
///       }
///     }
///
/// `Key` names what is watched and what is scheduled, usually by the cases of an enum; a key may have a descriptor and a
/// deadline at the same time.
public struct EventLoop<Key: Hashable & Sendable>: ~Copyable {
  /// Something that happened.
  public enum Event: Hashable, Sendable {
    /// A signal arrived.
    case signal(Int32)
    /// `Waker.wake()` was called, once or more often.
    case woken
    /// The descriptor can be read (or written, as asked), or has failed: reading it will say so.
    case ready(Key)
    /// The deadline has passed. It is forgotten.
    case due(Key)
  }

  /// Wakes a loop from any thread.
  public final class Waker: Sendable {
    fileprivate let file: FileDescriptor

    fileprivate init() throws(SystemError) {
      file = FileDescriptor(adopting: try retrying("eventfd") { clinux_eventfd() })
    }

    /// Makes the current or next `wait()` return `.woken`.
    public func wake() {
      var one: UInt64 = 1
      // It fails only when the counter is full, and then the loop wakes anyway.
      _ = unsafe Glibc.write(file.number, &one, 8)
    }

    fileprivate func reset() {
      var count: UInt64 = 0
      _ = unsafe Glibc.read(file.number, &count, 8)
    }
  }

  /// For other threads.
  public let waker: Waker
  private let signals: SignalDescriptor
  private var watched: [(key: Key, descriptor: Int32, events: Int16)] = []
  private var deadlines: [Key: Int64] = [:]

  /// Blocks the given signals in this thread and in threads started later, so create the loop before any thread.
  public init(signals: [Int32] = []) throws(SystemError) {
    let waker = try Waker()
    self.signals = try SignalDescriptor(signals)
    self.waker = waker
  }

  /// Watches a descriptor; an earlier one under the same key is forgotten. The caller keeps it open.
  public mutating func watch(_ descriptor: Int32, as key: Key, events: Int16 = Int16(POLLIN)) {
    unwatch(key)
    watched.append((key, descriptor, events))
  }

  /// Forgets the descriptor; call it before closing.
  public mutating func unwatch(_ key: Key) { watched.removeAll { $0.key == key } }

  /// Sets the deadline of a key, on the clock of `Clock.monotonic()`; an earlier one is replaced.
  public mutating func schedule(_ key: Key, at nanoseconds: Int64) { deadlines[key] = nanoseconds }

  /// Sets the deadline of a key to so many nanoseconds from now.
  public mutating func schedule(_ key: Key, after nanoseconds: Int64) {
    let (deadline, overflow) = Clock.monotonic().addingReportingOverflow(max(0, nanoseconds))
    deadlines[key] = overflow ? .max : deadline
  }

  /// Forgets the deadline of a key.
  public mutating func cancel(_ key: Key) { deadlines[key] = nil }

  /// The deadline of a key, if one is set.
  public func deadline(of key: Key) -> Int64? { deadlines[key] }

  /// Gives the signals back their default action: the next one kills the process.
  public func restoreSignals() { signals.restoreDefaults() }

  /// Waits until something happens. Signals come first, then the wake-up, descriptors, and deadlines by time.
  public mutating func wait() throws(SystemError) -> [Event] {
    var set = [
      pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: waker.file.number, events: Int16(POLLIN), revents: 0),
    ]
    for entry in watched { set.append(pollfd(fd: entry.descriptor, events: entry.events, revents: 0)) }
    while true {
      let timeout = Self.milliseconds(until: deadlines.values.min())
      try retrying("poll") { unsafe Glibc.poll(&set, nfds_t(set.count), timeout) }
      let events = try collect(set)
      // Nothing when a signal was taken by someone else, or for a deadline further away than poll can wait.
      if !events.isEmpty { return events }
    }
  }

  private mutating func collect(_ set: [pollfd]) throws(SystemError) -> [Event] {
    var events: [Event] = []
    if set[0].revents != 0 {
      while let number = signals.next() { events.append(.signal(number)) }
    }
    if set[1].revents != 0 {
      waker.reset()
      events.append(.woken)
    }
    for (entry, polled) in zip(watched, set.dropFirst(2)) where polled.revents != 0 {
      // A closed descriptor is a mistake of the caller, and would make the loop spin.
      if polled.revents & Int16(POLLNVAL) != 0 {
        throw SystemError("poll", "\(entry.key) (descriptor \(entry.descriptor))", Errno(rawValue: EBADF))
      }
      events.append(.ready(entry.key))
    }
    let now = Clock.monotonic()
    for (key, _) in deadlines.filter({ $0.value <= now }).sorted(by: { $0.value < $1.value }) {
      deadlines[key] = nil
      events.append(.due(key))
    }
    return events
  }

  /// Rounded up, so that the deadline has passed when poll returns; -1 = wait for ever.
  private static func milliseconds(until deadline: Int64?) -> Int32 {
    guard let deadline else { return -1 }
    let left = deadline.subtractingReportingOverflow(Clock.monotonic())
    guard !left.overflow, left.partialValue > 0 else { return 0 }
    return Int32(clamping: left.partialValue / 1_000_000 + 1)
  }
}
