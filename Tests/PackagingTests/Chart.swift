import Glibc
import JSON
import Syscalls
import TestSupport

/// The files of the repository that are packaged.
enum Repository {
  /// Its directory.
  static let root: String = {
    let tests = Files.split(#filePath).directory
    return Files.split(Files.split(tests).directory).directory
  }()

  /// Runs a program or script of the repository, by a path below its root.
  static func run(_ program: String, _ arguments: [String] = [], input: String = "") throws -> ChildProcess.Output {
    try ChildProcess.run("\(root)/\(program)", arguments, input: Array(input.utf8))
  }

  /// The same; a failure is thrown with what the program wrote.
  static func checked(_ program: String, _ arguments: [String] = [], input: String = "") throws -> String {
    let output = try run(program, arguments, input: input)
    guard output.exit.isSuccess else {
      throw PackagingError(description: "\(program) \(arguments.joined(separator: " ")): \(output.errorText)")
    }
    return output.text
  }

  /// Objects in YAML, checked against the schemas of Kubernetes.
  static func objects(yaml: String) throws -> [JSONValue] {
    try JSONValue(parsing: checked("scripts/validate-manifests", input: yaml)).arrayValue ?? []
  }
}

/// A program failed, with its words.
struct PackagingError: Error, CustomStringConvertible {
  let description: String
}

/// The chart, as the real `helm` renders it.
enum Chart {
  static let path = "\(Repository.root)/chart/weft"

  /// The version in `Chart.yaml`, that of the programs.
  static let version: String = {
    let lines = ((try? Files.text("\(path)/Chart.yaml")) ?? "").split(separator: "\n")
    return lines.first { $0.hasPrefix("version: ") }.map { String($0.dropFirst("version: ".count)) } ?? "unknown"
  }()

  /// What `helm` says to a values file (YAML or JSON).
  static func helm(_ verb: [String], values: String) throws -> ChildProcess.Output {
    try Repository.run(".build/tools/helm", verb + [path, "--namespace", "kube-flannel", "-f", "-"], input: values)
  }

  /// The objects by kind, all valid for Kubernetes. The chart has at most one of a kind.
  static func render(_ values: String = "{}") throws -> JSONValue {
    let output = try helm(["template", "weft"], values: values)
    guard output.exit.isSuccess else { throw PackagingError(description: output.errorText) }
    var kinds = JSONObject()
    for object in try Repository.objects(yaml: output.text) { kinds[object["kind"]?.stringValue ?? "?"] = object }
    return .object(kinds)
  }

  /// The same with the JSON documents of the ConfigMap parsed, so that they can be compared and looked into.
  static func renderParsed(_ values: String = "{}") throws -> JSONValue {
    var objects = try render(values)
    for name in ["cni-conf.json", "net-conf.json"] {
      let text = objects.at("ConfigMap/data/\(name)")?.stringValue ?? ""
      objects.set("ConfigMap/data/\(name)", try JSONValue(parsing: text))
    }
    return objects
  }
}

extension JSONValue {
  /// What a path leads to: names of members and indexes of elements, separated by slashes.
  func at(_ path: String) -> JSONValue? {
    var value = self
    for step in path.split(separator: "/").map(String.init) {
      guard let next = value[step] ?? value.element(step) else { return nil }
      value = next
    }
    return value
  }

  private func element(_ index: String) -> JSONValue? {
    guard let elements = arrayValue, let i = Int(index), elements.indices.contains(i) else { return nil }
    return elements[i]
  }

  /// Sets what a path leads to; nil removes it.
  mutating func set(_ path: String, _ value: JSONValue?) {
    set(path.split(separator: "/").map(String.init)[...], value)
  }

  private mutating func set(_ path: ArraySlice<String>, _ new: JSONValue?) {
    guard let step = path.first else {
      self = new ?? .null
      return
    }
    let rest = path.dropFirst()
    switch self {
    case .array(var elements):
      guard let i = Int(step), elements.indices.contains(i) else { return }
      if rest.isEmpty, new == nil { elements.remove(at: i) } else { elements[i].set(rest, new) }
      self = .array(elements)
    case .object(var members):
      if rest.isEmpty {
        members[step] = new
      } else {
        var member = members[step] ?? .object(JSONObject())
        member.set(rest, new)
        members[step] = member
      }
      self = .object(members)
    default: break
    }
  }
}
