import CLinux
import Syscalls

/// The kernel's verdict on a request (`NLMSG_ERROR`) or on a whole dump (`NLMSG_DONE`).
struct Acknowledgement {
  /// nil = done as asked.
  var errno: Errno?
  /// The kernel's extended text (`NLMSGERR_ATTR_MSG`).
  var text: String?
  /// Where the attribute that it refuses lies in the request, from the start of its header (`NLMSGERR_ATTR_OFFS`).
  var offset: Int?

  /// nil when the message is too short to be one.
  init?(_ message: borrowing Message) {
    guard let code = message.header(as: Int32.self) else {
      // A dump may end without a code on old kernels.
      guard message.type == ControlType.done else { return nil }
      return
    }
    guard code < 0, code > Int32.min else { return }
    errno = Errno(rawValue: -code)
    guard message.flags & MessageFlags.acknowledgementAttributes != 0 else { return }
    var start = 4
    if message.type == ControlType.error {
      guard let quoted = message.payload.load(4, as: nlmsghdr.self) else { return }
      let capped = message.flags & MessageFlags.capped != 0
      start += capped ? 16 : Int(clamping: (UInt64(quoted.nlmsg_len) + 3) & ~3)
    }
    var attributes = message.attributes(after: start)
    while let attribute = attributes.next() {
      switch attribute.type {
      case 1: text = attribute.string
      case 2: offset = attribute.uint32.map { Int($0) }
      default: break
      }
    }
  }
}
