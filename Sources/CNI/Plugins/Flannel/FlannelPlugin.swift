import JSON
import Syscalls

/// Turns `subnet.env` into the configuration of a delegate, usually bridge, and calls that (contract cni §B1).
public struct FlannelPlugin: CNIPlugin {
  /// `type` of a configuration that calls this plugin.
  public static let name = "flannel"
  /// In the words of the reference plugin, which name platform and commit.
  public static var about: String {
    #if arch(arm64)
      "CNI Plugin flannel version \(pluginRelease) (linux/arm64) commit weft"
    #else
      "CNI Plugin flannel version \(pluginRelease) (linux/amd64) commit weft"
    #endif
  }

  /// Holds no state: what is kept between calls is on disk.
  public init() {}

  /// Saves the delegate's configuration for the later commands, then calls its ADD. A failed ADD is undone; that of an
  /// attachment that exists already leaves it alone.
  public func add(_ request: CNIRequest) throws -> CNIResult {
    let c = try FlannelConfiguration(request)
    let node = try c.subnetEnvironment()
    try c.checkDelegate()
    let configuration = DelegateConfiguration(try c.delegateConfiguration(node))
    let scratch = FlannelScratch(c, request)
    let before = try scratch.read()
    try scratch.write(configuration.bytes)
    request.log("flannel: delegate configuration: \(String(decoding: configuration.bytes, as: UTF8.self))")
    do {
      return try request.delegateAdd(c.delegateType, configuration)
    } catch {
      undo(scratch, before, c.delegateType, configuration, request, nothingDone: error.isRefusal || error.isNotFound)
      throw error.prefixed("failed to delegate add: ")
    }
  }

  /// After a failed ADD. What was saved before means that the attachment exists already and this ADD was one too many:
  /// then nothing of it is touched. Otherwise the delegate's DEL is called, and nothing stays saved when that succeeds or
  /// when the delegate did nothing: it could not be found or refused its configuration, and DEL would meet the same.
  private func undo(
    _ scratch: FlannelScratch, _ before: [UInt8]?, _ type: String, _ configuration: DelegateConfiguration,
    _ request: CNIRequest, nothingDone: Bool
  ) {
    do throws(CNIError) {
      if before == nil { try request.delegate(type, .del, configuration) }
    } catch {
      request.log("flannel: cannot undo the failed ADD: \(error)")
      guard nothingDone || error.isRefusal else { return }
    }
    do throws(SystemError) {
      if let before { try scratch.write(before) } else { try scratch.remove() }
    } catch {
      request.log("flannel: cannot undo the failed ADD: \(error)")
    }
  }

  /// Calls the delegate's DEL with the saved configuration and forgets that. Nothing is done when nothing was saved. A
  /// configuration that no delegate takes is forgotten with a message, as the next DEL would fare no better; after any
  /// other failure it stays for the next DEL.
  public func del(_ request: CNIRequest) throws {
    let scratch = FlannelScratch(try FlannelConfiguration(request), request)
    scratch.removeLeftover()
    let own = try scratch.read()
    guard let bytes = try own ?? scratch.readShared() else { return }
    if let saved = parse(bytes, scratch.path, request) { try delete(saved, bytes, scratch.path, request) }
    if own != nil { try scratch.remove() }
  }

  /// DEL of the delegate. One that is not there, or that refuses its configuration, is passed over with a message.
  private func delete(
    _ saved: JSONObject, _ bytes: [UInt8], _ path: String, _ request: CNIRequest
  ) throws(CNIError) {
    let type = saved.field("type")?.stringValue ?? ""
    guard !type.isEmpty, saved.field("name")?.stringValue?.isEmpty == false else {
      request.log("flannel: the configuration saved at \(path) has no type or no name: nothing is deleted")
      return
    }
    do throws(CNIError) {
      _ = try PluginHost.find(type, in: request.path)
    } catch {
      request.log("flannel: the delegate of \(path) is gone, nothing is deleted: \(error)")
      return
    }
    do throws(CNIError) {
      try request.delegate(type, .del, DelegateConfiguration(saved, bytes: bytes))
    } catch {
      guard error.isRefusal else { throw error }
      request.log("flannel: the delegate \(quoted(type)) refuses what is saved at \(path): \(error)")
    }
  }

  /// The saved configuration; nil, with a message, when it is damaged. The interface is then left to its namespace.
  private func parse(_ bytes: [UInt8], _ path: String, _ request: CNIRequest) -> JSONObject? {
    do {
      let json = try JSONValue(parsing: bytes)
      if let o = json.objectValue { return o }
      request.log("failed to parse netconf: \(path) holds no JSON object but \(json.kindWithArticle)")
    } catch {
      request.log("failed to parse netconf: \(path): \(error)")
    }
    return nil
  }

  /// Asks the delegate with the saved configuration. `prevResult` is that of the whole list, which names the delegate's
  /// interfaces too.
  public func check(_ request: CNIRequest) throws {
    let scratch = FlannelScratch(try FlannelConfiguration(request), request)
    guard let bytes = try scratch.read() ?? scratch.readShared() else {
      throw CNIError.plain("flannel: no configuration was saved at \(scratch.path): ADD was never done, or DEL was")
    }
    guard var saved = parse(bytes, scratch.path, request) else {
      throw CNIError.plain("flannel: the configuration saved at \(scratch.path) is damaged", .decodingFailure)
    }
    // The list may speak another version by now, and its `prevResult` is in that.
    if let version = request.config.field("cniVersion") { saved["cniVersion"] = version }
    if let previous = request.config.field("prevResult") { saved["prevResult"] = previous }
    try request.delegate(try saved.string("type") ?? "", .check, DelegateConfiguration(saved))
  }

  /// Code 50 while flanneld has not written a usable file or the delegate is missing: ADD would fail.
  public func status(_ request: CNIRequest) throws {
    let c = try FlannelConfiguration(request)
    let node: SubnetEnvironment
    do throws(CNIError) {
      node = try c.subnetEnvironment()
    } catch {
      throw CNIError(.notAvailable, error.message)
    }
    try c.checkDelegate()
    do throws(CNIError) {
      _ = try PluginHost.find(c.delegateType, in: request.path)
    } catch {
      throw CNIError(.notAvailable, error.message)
    }
    try request.delegate(c.delegateType, .status, DelegateConfiguration(try c.delegateConfiguration(node)))
  }

  /// GC of the delegate, then of the saved configurations of this network.
  public func gc(_ request: CNIRequest) throws {
    let c = try FlannelConfiguration(request)
    let valid = try request.validAttachments()
    try c.checkDelegate()
    var configuration = try c.delegateConfiguration(try? c.subnetEnvironment())
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] { configuration[key] = request.config[key] }
    try request.delegate(c.delegateType, .gc, DelegateConfiguration(configuration))
    // The file named by the container alone may stand for any of its interfaces.
    let keep = Set(valid.flatMap { [$0.containerID, FlannelScratch.fileName($0)] })
    guard let names = try? Files.list(c.dataDirectory) else { return }
    for name in names {
      guard let target = FlannelScratch.leftover(name, in: c.dataDirectory), !keep.contains(target) else { continue }
      try Files.remove("\(c.dataDirectory)/\(name)")
    }
    for name in names where !keep.contains(name) && CNIRequest.isIdentifier(name) {
      let path = "\(c.dataDirectory)/\(name)"
      guard let saved = (try FlannelScratch.read(path)).flatMap({ try? JSONValue(parsing: $0) })?.objectValue,
        saved.field("name")?.stringValue == c.name
      else { continue }
      try Files.remove(path)
    }
  }
}

extension CNIError {
  /// The configuration itself was refused, so that nothing was done and no later call with it will do better.
  fileprivate var isRefusal: Bool {
    // A plain one is about the result of an ADD that was done.
    !isPlain && [.incompatibleVersion, .unsupportedField, .decodingFailure, .invalidConfiguration].contains(code)
  }

  /// A plugin's program is missing: the delegate's, or that of the address plugin it calls.
  fileprivate var isNotFound: Bool {
    // Not `contains` of a text: it would link the regular expression engine, a sixth of the program.
    let text = Array(message.utf8)
    return text.indices.contains { text[$0...].starts(with: "failed to find plugin".utf8) }
  }
}
