//! The S3 operations: requests in s3s' words, answered from the store.

mod conditions;
mod list;
mod multipart;
mod objects;

use std::sync::Arc;

use async_trait::async_trait;
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use crate::object::timestamp;
use crate::receive::blocking;
use crate::store::Store;

/// The service for `store`, which knows one access key. Unsigned requests are refused.
pub(crate) fn service(store: Store, access_key_id: String, secret_access_key: &str) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Api { store: Arc::new(store) });
    builder.set_auth(OneKey { access_key_id, secret: SecretKey::from(secret_access_key) });
    builder.build()
}

struct OneKey {
    access_key_id: String,
    secret: SecretKey,
}

#[async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key_id: &str) -> S3Result<SecretKey> {
        if access_key_id != self.access_key_id {
            return Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            ));
        }
        Ok(self.secret.clone())
    }
}

#[derive(Clone)]
struct Api {
    store: Arc<Store>,
}

type Answer<T> = S3Result<S3Response<T>>;

#[async_trait]
impl S3 for Api {
    async fn list_buckets(&self, request: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        let prefix = request.input.prefix.unwrap_or_default();
        let buckets = self.store.list().into_iter().filter(|(name, _)| name.starts_with(&prefix));
        let buckets = buckets.map(|(name, created_ms)| Bucket {
            name: Some(name),
            creation_date: Some(timestamp(created_ms)),
            ..Bucket::default()
        });
        let output = ListBucketsOutput { buckets: Some(buckets.collect()), ..ListBucketsOutput::default() };
        Ok(S3Response::new(output))
    }

    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        let store = Arc::clone(&self.store);
        let location = format!("/{}", request.input.bucket);
        blocking(move || store.create(&request.input.bucket)).await?;
        Ok(S3Response::new(CreateBucketOutput { location: Some(location) }))
    }

    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
        let store = Arc::clone(&self.store);
        blocking(move || store.delete(&request.input.bucket)).await?;
        Ok(S3Response::with_status(DeleteBucketOutput {}, http::StatusCode::NO_CONTENT))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.store.bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    /// Without a location constraint, which is how S3 says us-east-1; any region is accepted in signatures.
    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        self.store.bucket(&request.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        self.list_v1(request.input).await
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
        self.list_v2(request.input).await
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        self.put(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        self.get(request.input).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        self.head(request.input).await
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        self.copy(request).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        let DeleteObjectInput { bucket, key, if_match, .. } = request.input;
        let bucket = self.store.bucket(&bucket)?;
        blocking(move || bucket.delete(&key, if_match)).await?;
        Ok(S3Response::with_status(DeleteObjectOutput::default(), http::StatusCode::NO_CONTENT))
    }

    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> Answer<DeleteObjectsOutput> {
        self.delete_many(request.input).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        self.begin_upload(request).await
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        self.put_part(request).await
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        self.copy_part(request.input).await
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        self.parts(request.input).await
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        self.uploads(request.input).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        self.complete_upload(request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let AbortMultipartUploadInput { bucket, key, upload_id, .. } = request.input;
        let bucket = self.store.bucket(&bucket)?;
        blocking(move || bucket.abort_upload(&upload_id, &key)).await?;
        Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), http::StatusCode::NO_CONTENT))
    }
}
