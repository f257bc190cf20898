import Glibc
import JSON
import Syscalls
import TestSupport
import Testing

/// An image with busybox and nothing else, as an archive in OCI's layout. Its program answers every connection to port 80
/// with the container's host name.
struct TestImage {
  /// The name it has once it is loaded.
  static let name = "localhost/weft-test:1"
  /// The archive.
  let path: String

  /// Makes the image from the machine's (static) busybox.
  init(in directory: TemporaryDirectory) throws {
    let layer = try Self.layer(directory)
    let blobs = "image/blobs/sha256"
    let layerDigest = try Self.digest(layer)
    try Files.makeDirectory(directory.file(blobs))
    try retrying("rename", layer) { rename(layer, directory.file("\(blobs)/\(layerDigest)")) }

    func blob(_ kind: String, _ text: String) throws -> String {
      let file = try directory.write(text, to: "image/blob")
      let digest = try Self.digest(file)
      try retrying("rename", file) { rename(file, directory.file("\(blobs)/\(digest)")) }
      return
        #""mediaType":"application/vnd.oci.image.\#(kind)","digest":"sha256:\#(digest)","size":\#(text.utf8.count)"#
    }
    let command = #"["/bin/nc","-ll","-p","80","-e","/bin/hostname"]"#
    let configuration = try blob(
      "config.v1+json",
      #"{"architecture":"\#(Self.architecture)","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":\#(command)},"#
        + #""rootfs":{"type":"layers","diff_ids":["sha256:\#(layerDigest)"]}}"#)
    let size = try Files.status(directory.file("\(blobs)/\(layerDigest)")).size
    let manifest = try blob(
      "manifest.v1+json",
      #"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{\#(configuration)},"#
        + #""layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:\#(layerDigest)","#
        + #""size":\#(size)}]}"#)
    let annotations =
      #"{"io.containerd.image.name":"\#(Self.name)","org.opencontainers.image.ref.name":"\#(Self.name)"}"#
    try directory.write(
      #"{"schemaVersion":2,"manifests":[{\#(manifest),"annotations":\#(annotations)}]}"#, to: "image/index.json")
    try directory.write(#"{"imageLayoutVersion":"1.0.0"}"#, to: "image/oci-layout")
    path = directory.file("image.tar")
    try Self.archive(directory.file("image"), to: path)
  }

  /// The file system of the image: busybox under the names of its programs.
  private static func layer(_ directory: TemporaryDirectory) throws -> String {
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] { try Files.makeDirectory(directory.file("root/\(name)")) }
    try directory.write("root:x:0:0:root:/:/bin/sh\n", to: "root/etc/passwd")
    let program = directory.file("root/bin/busybox")
    try Files.writeAtomically(Files.read("/bin/busybox"), to: program, mode: 0o755, durable: false)
    for name in ["hostname", "ip", "nc", "ping", "sh", "sleep"] {
      try retrying("symlink", name) { symlink("busybox", directory.file("root/bin/\(name)")) }
    }
    try archive(directory.file("root"), to: directory.file("layer.tar"))
    return directory.file("layer.tar")
  }

  private static func archive(_ directory: String, to file: String) throws {
    let output = try ChildProcess.run("/bin/tar", ["-C", directory, "--owner=0", "--group=0", "-cf", file, "."])
    try #require(output.exit.isSuccess, "tar: \(output.errorText)")
  }

  private static func digest(_ file: String) throws -> String {
    String(try ChildProcess.run("/usr/bin/sha256sum", [file]).text.prefix { $0 != " " })
  }

  /// As OCI calls it.
  private static var architecture: String {
    #if arch(arm64)
      "arm64"
    #else
      "amd64"
    #endif
  }
}
