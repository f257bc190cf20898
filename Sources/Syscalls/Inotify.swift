import CLinux
import Glibc

/// A non-blocking inotify descriptor (inotify(7)).
public struct Inotify: ~Copyable, Sendable {
  private let file: FileDescriptor

  /// Watches nothing yet. A user has few of these: `EMFILE` when the sysctl's limit is reached.
  public init() throws(SystemError) {
    let fd = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
    guard fd >= 0 else { throw SystemError("inotify_init", "(see sysctl fs.inotify.max_user_instances)") }
    file = FileDescriptor(adopting: fd)
  }

  /// For poll(2): readable when events wait.
  public var descriptor: Int32 { file.number }

  /// Starts watching a path; watching the same file again changes its mask and returns the same number.
  public func add(_ path: String, _ mask: Event.Mask) throws(SystemError) -> Int32 {
    let watch = unsafe inotify_add_watch(file.number, path, mask.rawValue)
    if watch >= 0 { return watch }
    let errno = Errno.current
    // "No space left on device" is about something else here.
    throw SystemError("watch", errno == .noSpace ? "\(path) (see sysctl fs.inotify.max_user_watches)" : path, errno)
  }

  /// Ends a watch; one that is already gone is no error.
  public func remove(_ watch: Int32) { _ = inotify_rm_watch(file.number, watch) }

  /// All events that wait, in order; empty when there are none.
  public func read(into buffer: inout [UInt8]) throws(SystemError) -> [Event] {
    var out: [Event] = []
    while true {
      do {
        let n = try file.read(into: &buffer)
        guard n > 0 else { return out }
        out += Event.parse(buffer.span.extracting(0..<min(n, buffer.count)))
        // Enough for one turn: the descriptor stays readable.
        if out.count > 100_000 { return out }
      } catch  where error.errno == .wouldBlock {
        return out
      }
    }
  }

  /// One notification.
  public struct Event: Hashable, Sendable {
    /// The watch's number; -1 for an overflow.
    public let watch: Int32
    /// What happened, with `isDirectory` if it happened to a directory.
    public let mask: Mask
    /// The name of the entry in a watched directory; empty when the event is about the watched file itself.
    public let name: String

    /// Takes the fields as the kernel sends them; an overflow has the watch -1 and no name.
    public init(watch: Int32, mask: Mask, name: String) {
      self.watch = watch
      self.mask = mask
      self.name = name
    }

    /// `IN_…` bits.
    public struct Mask: OptionSet, Hashable, Sendable {
      /// The bits as in `linux/inotify.h`.
      public let rawValue: UInt32
      /// Takes any bits, also those that have no name here.
      public init(rawValue: UInt32) { self.rawValue = rawValue }
      /// `IN_ATTRIB`: permissions, owner or times changed.
      public static let attributes = Mask(rawValue: 0x4)
      /// `IN_CLOSE_WRITE`: a file that was open for writing was closed.
      public static let closedAfterWrite = Mask(rawValue: 0x8)
      /// `IN_MOVED_FROM`: an entry was renamed away.
      public static let movedFrom = Mask(rawValue: 0x40)
      /// `IN_MOVED_TO`: an entry was renamed to this place.
      public static let movedTo = Mask(rawValue: 0x80)
      /// `IN_CREATE`: an entry was made; a file may still be empty.
      public static let created = Mask(rawValue: 0x100)
      /// `IN_DELETE`: an entry was removed.
      public static let deleted = Mask(rawValue: 0x200)
      /// `IN_DELETE_SELF`: what is watched was removed.
      public static let selfDeleted = Mask(rawValue: 0x400)
      /// `IN_MOVE_SELF`: what is watched was renamed; the watch goes with it.
      public static let selfMoved = Mask(rawValue: 0x800)
      /// The file system was unmounted.
      public static let unmounted = Mask(rawValue: 0x2000)
      /// Events were lost.
      public static let overflow = Mask(rawValue: 0x4000)
      /// The watch is gone.
      public static let ignored = Mask(rawValue: 0x8000)
      /// For `add`: refuse anything but a directory.
      public static let onlyDirectory = Mask(rawValue: 0x0100_0000)
      /// The entry is a directory.
      public static let isDirectory = Mask(rawValue: 0x4000_0000)
    }

    /// Decodes `struct inotify_event` records: watch, mask, cookie, length (4 bytes each, host order) and a name padded
    /// with zeros. A record that does not fit counts as an overflow: the reader looks at everything again.
    static func parse(_ bytes: borrowing Span<UInt8>) -> [Event] {
      var out: [Event] = []
      var i = 0
      func word(_ at: Int) -> UInt32 {
        unsafe bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt32.self)
      }
      while i < bytes.count {
        guard bytes.count - i >= 16, case let length = Int(word(i + 12)), length <= bytes.count - i - 16 else {
          out.append(Event(watch: -1, mask: .overflow, name: ""))
          return out
        }
        var end = i + 16
        while end < i + 16 + length, bytes[end] != 0 { end += 1 }
        let name = unsafe bytes.extracting(i + 16..<end).withUnsafeBufferPointer {
          unsafe String(decoding: $0, as: UTF8.self)
        }
        out.append(Event(watch: Int32(bitPattern: word(i)), mask: Mask(rawValue: word(i + 4)), name: name))
        i += 16 + length
      }
      return out
    }
  }
}
