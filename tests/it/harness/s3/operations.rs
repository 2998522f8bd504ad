//! The operations of the store as s3s calls them, once a request's signature is right.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsV2Input, ListObjectsV2Output,
    ListPartsInput, ListPartsOutput, PutObjectInput, PutObjectOutput, UploadPartCopyInput,
    UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result};

use super::policy::Place;
use super::store::Store;

pub(super) type Answer<T> = S3Result<S3Response<T>>;

pub(super) struct Operations(pub(super) Arc<Store>);

/// Spells out what `async_trait` makes of the trait's methods. The bulk `DeleteObjects` is missing,
/// as in several stores: s3s answers it with 501.
macro_rules! operations {
    ($($name:ident($input:ty) -> $output:ty;)*) => {
        impl S3 for Operations {
            $(
                fn $name<'s, 'f>(
                    &'s self,
                    request: S3Request<$input>,
                ) -> BoxFuture<'f, Answer<$output>>
                where
                    's: 'f,
                    Self: 'f,
                {
                    let place = request.extensions.get::<Place>();
                    let place = place.expect("each request has its place");
                    if let Err(denied) = self.0.policy.demand(stringify!($name), place) {
                        return Box::pin(async { Err(denied) });
                    }
                    Box::pin(self.0.$name(request))
                }
            )*
        }
    };
}

operations! {
    head_bucket(HeadBucketInput) -> HeadBucketOutput;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
    head_object(HeadObjectInput) -> HeadObjectOutput;
    get_object(GetObjectInput) -> GetObjectOutput;
    put_object(PutObjectInput) -> PutObjectOutput;
    copy_object(CopyObjectInput) -> CopyObjectOutput;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    upload_part(UploadPartInput) -> UploadPartOutput;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    list_parts(ListPartsInput) -> ListPartsOutput;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
}
