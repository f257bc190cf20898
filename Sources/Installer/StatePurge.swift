import Glibc
import NetTypes
import Syscalls

/// Removes the files about the node's network and its containers.
///
/// The plugins' own files are what a container is taken off the network with: they stay as long as a container may need
/// them, `flannel` while pods are on the bridge, the addresses of the network while any is reserved.
struct StatePurge {
  var places: Uninstallation.Places
  /// Name of the network in the runtime's configuration.
  var network: String
  /// Pods are still connected.
  var hasPods: Bool

  func run(_ removal: inout Removal) {
    let (directory, name) = Files.split(places.subnetFile)
    if Files.exists(places.subnetFile) { removal.remove(places.subnetFile) { try Files.remove(places.subnetFile) } }
    // Where it is a mount of its own, as in a container, it cannot go and need not.
    if let rest = try? Files.list(directory), rest.allSatisfy({ $0 == name }), !Self.isMount(directory) {
      removal.remove(directory) { try retrying("rmdir", directory) { unsafe rmdir(directory) } }
    }
    removeScratch(&removal)
    removal.look(at: places.state) { try removeReservations(&$0) }
  }

  private func removeScratch(_ removal: inout Removal) {
    let scratch = "\(places.state)/flannel"
    guard Files.isDirectory(scratch) else { return }
    if hasPods {
      removal.keep(scratch, "pods are connected to \(NetworkPurge.bridge)")
    } else {
      removal.remove(scratch) { try Files.removeTree(scratch) }
    }
  }

  private func removeReservations(_ removal: inout Removal) throws {
    let directory = "\(places.state)/networks/\(network)"
    guard Files.isDirectory(directory) else { return }
    let reserved = try Files.list(directory).filter { IPAddress($0) != nil }.sorted()
    if let first = reserved.first {
      removal.keep(
        directory,
        "\(reserved.count) address\(reserved.count == 1 ? " is" : "es are") reserved for containers, as \(first)")
    } else {
      removal.remove(directory) { try Files.removeTree(directory) }
    }
  }

  /// Something is mounted at the directory.
  private static func isMount(_ directory: String) -> Bool {
    let mounts = (try? Files.text("/proc/self/mountinfo")) ?? ""
    let path = Files.resolved(directory) ?? directory
    return mounts.split(separator: "\n").contains { line in
      let fields = line.split(separator: " ", maxSplits: 5)
      return fields.count > 5 && fields[4] == path[...]
    }
  }
}
