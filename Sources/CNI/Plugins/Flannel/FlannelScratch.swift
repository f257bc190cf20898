import Glibc
import JSON
import Syscalls

/// The delegate's configuration as it was at ADD, one file per attachment: DEL must undo what was done then, whatever
/// the configuration and `subnet.env` say now.
///
/// The file is named by the container as in the reference plugin; further interfaces of a container have a file of their
/// own, `<container id>-<ifname>`.
struct FlannelScratch {
  let directory: String
  let network: String
  let attachment: CNIRequest.Attachment

  init(_ c: FlannelConfiguration, _ request: CNIRequest) {
    directory = c.dataDirectory
    network = c.name
    attachment = CNIRequest.Attachment(containerID: request.containerID, ifname: request.ifname)
  }

  /// The file of this attachment.
  var path: String { "\(directory)/\(Self.fileName(attachment))" }

  static func fileName(_ a: CNIRequest.Attachment) -> String {
    a.ifname == "eth0" ? a.containerID : "\(a.containerID)-\(a.ifname)"
  }

  /// What `write` fills first. One name for every call, so that a call cut short leaves nothing for ever.
  private var temporary: String { "\(directory)/.\(Self.fileName(attachment)).tmp" }

  /// The name of the saved file that a temporary one of a call cut short was meant for; nil when it may still be written
  /// to, or is something else.
  static func leftover(_ name: String, in directory: String) -> String? {
    guard name.utf8.first == UInt8(ascii: "."), let dot = name.lastIndex(of: "."), dot != name.startIndex else {
      return nil
    }
    let target = String(name[name.index(after: name.startIndex)..<dot])
    let suffix = name[name.index(after: dot)...]
    // Earlier versions had the number of the process there.
    guard suffix == "tmp" || Int32(suffix) != nil, CNIRequest.isIdentifier(target),
      let status = try? Files.linkStatus("\(directory)/\(name)"), status.isRegular,
      status.modified < Clock.realtime() - 60_000_000_000
    else { return nil }
    return target
  }

  /// The saved bytes; nil when there are none.
  func read() throws(SystemError) -> [UInt8]? { try Self.read(path) }

  /// What the reference plugin saved for this attachment, if it is not `eth0`. The file may as well belong to `eth0` of
  /// the same container, so it can be used but not removed.
  func readShared() throws(SystemError) -> [UInt8]? {
    guard attachment.ifname != "eth0", let bytes = try Self.read("\(directory)/\(attachment.containerID)"),
      let saved = (try? JSONValue(parsing: bytes))?.objectValue, saved.field("name")?.stringValue == network
    else { return nil }
    return bytes
  }

  static func read(_ path: String) throws(SystemError) -> [UInt8]? {
    do throws(SystemError) {
      return try Files.read(path, limit: PluginMain.inputLimit)
    } catch {
      if error.errno == .noEntry || error.errno == .notDirectory { return nil }
      throw error
    }
  }

  /// Replaces the file: a reader, or a crash, finds the old or the new content.
  func write(_ bytes: [UInt8]) throws(SystemError) {
    let file = try create()
    do throws(SystemError) {
      try file.write(bytes, object: temporary)
      try file.sync(object: temporary)
      try retrying("rename", path) { unsafe rename(temporary, path) }
    } catch {
      _ = try? Files.remove(temporary)
      throw error
    }
  }

  private func create() throws(SystemError) -> FileDescriptor {
    let flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW
    do throws(SystemError) {
      return try FileDescriptor.open(temporary, flags, mode: 0o600)
    } catch {
      guard error.errno == .noEntry else { throw error }
    }
    try Files.makeDirectory(directory, mode: 0o700)
    return try FileDescriptor.open(temporary, flags, mode: 0o600)
  }

  func remove() throws(SystemError) { try Files.remove(path) }

  /// Removes what an ADD that was cut short left behind.
  func removeLeftover() { _ = try? Files.remove(temporary) }
}
