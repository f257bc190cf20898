import CLinux
import Glibc

/// The process environment.
public enum Environment {
  /// The value of a variable; nil when it is not set.
  public static func get(_ name: String) -> String? {
    guard let p = unsafe getenv(name) else { return nil }
    return unsafe String(cString: p)
  }

  /// All variables as `NAME=value`.
  public static var all: [String] {
    var out: [String] = []
    var p = unsafe environ
    while let entry = unsafe p.pointee {
      out.append(unsafe String(cString: entry))
      unsafe p += 1
    }
    return out
  }
}

/// Clocks.
public enum Clock {
  /// Nanoseconds of the monotonic clock.
  public static func monotonic() -> Int64 { read(CLOCK_MONOTONIC) }
  /// Nanoseconds since the epoch.
  public static func realtime() -> Int64 { read(CLOCK_REALTIME) }
  /// Nanoseconds of CPU time used by this process.
  public static func processCPU() -> Int64 { read(CLOCK_PROCESS_CPUTIME_ID) }

  private static func read(_ id: clockid_t) -> Int64 {
    var t = timespec()
    _ = unsafe clock_gettime(id, &t)
    return Int64(t.tv_sec) &* 1_000_000_000 &+ Int64(t.tv_nsec)
  }

  /// Sleeps; signals do not shorten it.
  public static func sleep(nanoseconds: Int64) {
    let end = monotonic() &+ max(0, nanoseconds)
    while true {
      let left = end - monotonic()
      guard left > 0 else { return }
      var t = timespec(tv_sec: Int(left / 1_000_000_000), tv_nsec: Int(left % 1_000_000_000))
      _ = unsafe nanosleep(&t, nil)
    }
  }
}

/// The memory of the process.
public enum Memory {
  /// Gives back what the last large piece of work left: free heap, and the mapped pages of code that ran once. Code comes
  /// back from the page cache when it is needed again.
  public static func release() { clinux_release_memory() }
}
